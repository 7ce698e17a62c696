//! What an operator sees: logs, metrics, traces and the audit trail.

mod audit;
mod logs;
mod metrics;
mod sink;
mod traces;

pub use audit::{Audit, Entry, Outcome};
pub use logs::{Format, start};
pub use metrics::{KeyReading, MEDIA_TYPE as METRICS_MEDIA_TYPE, Metrics, Readings};
pub use sink::Sink;
pub use traces::{
    Traces, TracesError, authentication_span, end_request, limits_span, request_span, session_span,
    signing_span, traceparent,
};
