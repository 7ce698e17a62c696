//! Who asks, as far as the headers say: before a body is read.

use std::sync::Arc;

use axum::http::HeaderMap;
use tracing::Instrument;

use super::error::Failure;
use super::snapshot::{Service, Snapshot};
use crate::caller::{Caller, Unproven};
use crate::limits::Passage;
use crate::telemetry;

/// The caller that `Authorization` proves; `None` where there is no `Authorization`.
///
/// # Errors
/// When it proves nobody, which counts against the address, or nobody can say at the moment.
pub(super) async fn by_header<'s>(
    service: &Service,
    snapshot: &'s Snapshot,
    headers: &HeaderMap,
    passage: &mut Passage<'_>,
) -> Result<Option<&'s Arc<Caller>>, Failure> {
    let proven =
        telemetry::authentication_span().in_scope(|| snapshot.callers.authenticate(headers));
    match proven {
        Ok(caller) => Ok(Some(caller)),
        Err(Unproven::Missing) => Ok(None),
        // Boxed, as callers with a key would carry the room for it.
        Err(unproven) => {
            Box::pin(look_further(service, snapshot, headers, passage, unproven)).await
        }
    }
}

/// Asks whoever can say more of a workload's token, and counts what proves nobody.
async fn look_further<'s>(
    service: &Service,
    snapshot: &'s Snapshot,
    headers: &HeaderMap,
    passage: &mut Passage<'_>,
    mut unproven: Unproven,
) -> Result<Option<&'s Arc<Caller>>, Failure> {
    if unproven == Unproven::Workload {
        // Before another service is asked for keys.
        passage.settle().await?;
        let asking = (snapshot.callers).authenticate_workload(headers, service.clock.now());
        match asking.instrument(telemetry::authentication_span()).await {
            Ok(caller) => return Ok(Some(caller)),
            Err(error) => unproven = error,
        }
    }
    if let Unproven::Unavailable { retry_after } = unproven {
        return Err(Failure::CallerUnknown(retry_after));
    }
    passage
        .record_failed_authentication()
        .instrument(telemetry::limits_span())
        .await?;
    Err(Failure::InvalidClient)
}
