//! What a server with routes of its own has in common with the dialects: how bodies are read, and
//! what every answer carries.

use axum::Router;
use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use axum::response::Response;
use fieldmesh_dialect::Refusal;

use crate::body::{self, BodyError};
use crate::budget::{Budget, Shares, Taker};
use crate::settings::Settings;
use crate::shell;

/// Reads bodies; clones share one budget of memory.
#[derive(Debug, Clone)]
pub struct Bodies {
    budget: Budget,
    bytes_max: usize,
    patience: std::time::Duration,
}

/// Why there is no body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyFault {
    /// It is too large, as it came or inflated.
    #[error("the body is larger than {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// It is compressed in a way that is not known.
    #[error("the body may be compressed by gzip or zstd, or not at all")]
    Coding,
    /// It is not what its compression says.
    #[error("the body is damaged")]
    Damaged,
    /// Too many bodies are in memory.
    #[error("too many bodies are read at the moment; try again")]
    Busy,
    /// It did not come in time.
    #[error("the body did not come in time")]
    Slow,
}

impl Bodies {
    /// Reads bodies of at most `bytes_max`, within what `settings` say of all of them; whose they are
    /// makes no difference.
    pub fn new(settings: &Settings, bytes_max: usize) -> Self {
        let budget = Budget::new(Shares::whole(settings.bodies.all));
        Self { budget, bytes_max, patience: settings.body_patience }
    }

    /// Reads a body to its end, inflated.
    ///
    /// # Errors
    ///
    /// It is too large, too slow or not readable; a little more of it is read, so that its sender
    /// hears why.
    pub async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Vec<u8>, BodyFault> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let length = text(CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        let bytes_max = self.bytes_max;
        if length.is_some_and(|length| length > bytes_max as u64) {
            body::drain(body).await;
            return Err(BodyFault::TooLarge { bytes_max });
        }
        let (coding, held) = (text(CONTENT_ENCODING), self.budget.hold(Taker::only()));
        match body::read(body, coding, bytes_max, held, self.patience).await {
            Ok((bytes, _held)) => Ok(bytes),
            Err(BodyError::Slow | BodyError::Gone) => Err(BodyFault::Slow),
            Err(BodyError::Refused(Refusal::TooLarge { .. })) => {
                Err(BodyFault::TooLarge { bytes_max })
            }
            Err(BodyError::Refused(Refusal::WrongType { .. })) => Err(BodyFault::Coding),
            Err(BodyError::Refused(Refusal::Unavailable { .. })) => Err(BodyFault::Busy),
            Err(BodyError::Refused(_)) => Err(BodyFault::Damaged),
        }
    }

    /// Reads a little of a body that nobody wants, so that its sender hears why.
    pub async fn drain(body: Body) {
        body::drain(body).await;
    }
}

/// Has every answer of `router` compressed where that pays, and lets browsers show it to the pages
/// of `settings` only.
pub fn dressed(router: Router, settings: &Settings) -> Router {
    let finish = settings.clone();
    let finish = axum::middleware::map_response_with_state(
        finish,
        |axum::extract::State(settings): axum::extract::State<Settings>, mut response: Response| async move {
            shell::finish(&mut response, &settings);
            response
        },
    );
    shell::compressed(router.layer(finish)).layer(shell::cors(&settings.origins))
}
