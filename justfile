# The few commands of daily work; each works without `just` as well, as it stands here.

# All that CI checks.
check:
    .ci/check

# The tests that need nothing but Rust: `just test architecture`, `just test -- lifetime`.
test *arguments:
    cargo test --locked {{arguments}}

# Real clients and parts against the real program; all suites, or those named.
e2e *suites:
    tests/e2e/run {{suites}}

# CPU time per token beside a bare server's, in one run.
bench:
    cargo bench --bench load

# signet beside the servers that one would write instead: `just compare`, `just compare go nginx --rounds 20`.
compare *arguments:
    benches/compare/run {{arguments}}

# Formats the sources.
fmt:
    cargo fmt --all

# A demo on this machine: nothing to prepare.
dev:
    cargo run --release -- dev
