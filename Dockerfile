# A small image for `signet serve`: no shell, no package manager, a user without rights.

FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /signet

# The dependencies alone, so that this layer lasts until Cargo.lock changes.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src benches \
 && echo 'fn main() {}' | tee src/main.rs > benches/load.rs \
 && touch src/lib.rs \
 && cargo build --release --locked \
 && rm -r src

COPY config config
COPY src src
# Cargo goes by the files' times, and the stand-ins above are younger than the sources.
RUN find src -name '*.rs' -exec touch '{}' + \
 && cargo build --release --locked

FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="signet" \
      org.opencontainers.image.description="Issues short-lived JWTs to embedded chat widgets and bots" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /signet/target/release/signet /usr/local/bin/signet

# By number, so that an orchestrator can see that it isn't root.
USER 65532:65532
EXPOSE 8443
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["/usr/local/bin/signet", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/signet"]
CMD ["serve"]
