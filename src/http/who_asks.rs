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
    let mut proven =
        telemetry::authentication_span().in_scope(|| snapshot.callers.authenticate(headers));
    if matches!(proven, Err(Unproven::Workload)) {
        // Before another service is asked for keys.
        passage.settle().await?;
        let now = service.clock.now();
        // Boxed, as callers with a key would carry the room for it.
        let asking = Box::pin(snapshot.callers.authenticate_workload(headers, now));
        proven = asking.instrument(telemetry::authentication_span()).await;
    }
    match proven {
        Ok(caller) => Ok(Some(caller)),
        Err(Unproven::Missing) => Ok(None),
        Err(Unproven::Unavailable { retry_after }) => Err(Failure::CallerUnknown(retry_after)),
        Err(Unproven::Workload | Unproven::Wrong) => {
            passage
                .record_failed_authentication()
                .instrument(telemetry::limits_span())
                .await?;
            Err(Failure::InvalidClient)
        }
    }
}
