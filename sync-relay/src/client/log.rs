//! What is asked about the log.

use fieldmesh::api::Problem;

use super::Client;
use crate::wire::LogFilter;

impl Client {
    /// See [`crate::log::Lines::shown`].
    pub(crate) async fn log(&self) -> Result<LogFilter, Problem> {
        self.get("/v1/log".into()).await
    }

    /// See [`crate::log::Lines::set`].
    pub(crate) async fn set_log(&self, filter: &str) -> Result<LogFilter, Problem> {
        self.post("/v1/log".into(), &LogFilter { filter: filter.to_owned() }).await
    }
}
