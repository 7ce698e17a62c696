//! What an operator sees: logs, metrics and the audit trail.

mod audit;
mod logs;
mod metrics;
mod sink;

pub use audit::{Audit, Entry, Outcome};
pub use logs::{Format, start};
pub use metrics::{MEDIA_TYPE as METRICS_MEDIA_TYPE, Metrics, Readings};
pub use sink::Sink;
