//! The five HTTP dialects as pure functions between requests and commands.
//!
//! A dialect is the HTTP contract of an existing system. [`understand`] turns a request into an
//! [`Ask`], which holds one [`Command`]; whoever owns the records executes it; [`Ask::answer`]
//! turns the [`Outcome`] into the response that the contract states. Nothing here reaches a store,
//! a socket or a clock, so that a relay and a device answer alike.
//!
//! ```
//! use fieldmesh_dialect::{Method, Outcome, Request, Response, understand};
//! use fieldmesh_model::Moment;
//!
//! let at = Moment::from_millis(1_761_400_000_000);
//! let request = Request::new(Method::Get, "/api/health", at);
//! let ask = understand(&request, None).map_err(|refused| refused.status)?;
//! // Here the command is executed.
//! let response = ask.answer(Outcome::Healthy { at, version: "1.0.0".to_owned() });
//! assert_eq!(response.status, 200);
//! # Ok::<(), u16>(())
//! ```
//!
//! What a server has to do around this: find the [`Route`] for the limits of its endpoint, check
//! token and tenant, count the request, decompress the body. Where one of these fails,
//! [`Route::refuse`] writes the error as the dialect does.

pub mod command;
pub mod openapi;
pub mod outcome;
pub mod tenancy;

mod asset;
mod batch;
mod caller;
mod canonical;
mod cursor;
mod device;
mod form;
mod health;
mod inbox;
mod name;
mod payload;
mod reason;
mod refusal;
mod request;
mod response;
mod route;
mod service;
mod vet;
mod weight;
mod wellpulse;

pub use caller::{Caller, Dialect, Dialects};
pub use command::Command;
pub use cursor::{CURSOR_SIZE_MAX, Cursor, CursorError, FeedId, Since};
pub use name::{NAME_SIZE_MAX, Name};
pub use outcome::Outcome;
pub use refusal::Refusal;
pub use request::{Method, Request};
pub use response::{FAULTS_MAX, Response};
pub use route::{
    Access, BODY_MAX, Bucket, EVENTS_BODY_MAX, Endpoint, PHOTO_SIZE_MAX, Route, SESSION_BODY_MAX,
    endpoints,
};
pub use weight::WEIGHT_MAX;

use response::ErrorForm;
use route::Reads;

/// A request that was understood: what is to be done, and how to say what became of it.
#[derive(Debug, Clone)]
pub struct Ask {
    /// What is to be done.
    pub command: Command,
    /// In whose names records are called; `None` where no record is.
    pub dialect: Option<Dialect>,
    reply: Reply,
    form: ErrorForm,
}

/// How each dialect answers.
#[derive(Debug, Clone)]
enum Reply {
    Service(service::Reply),
    Wellpulse(wellpulse::Reply),
    Batch(batch::Reply),
    Asset(asset::Reply),
    Vet(vet::Reply),
    Health(health::Reply),
}

/// What `request` of `caller` means; public endpoints have no caller.
///
/// A server that looked up the [`Route`] before goes on with [`Route::understand`].
///
/// # Errors
///
/// The response to give at once: the request is not what its contract states, or the caller may
/// not send it.
pub fn understand(request: &Request, caller: Option<&Caller>) -> Result<Ask, Response> {
    Route::find(request)?.understand(request, caller)
}

impl Route {
    /// What `request` of `caller` means, which this is the route of.
    ///
    /// # Errors
    ///
    /// The response to give at once, as of [`understand`].
    pub fn understand(&self, request: &Request, caller: Option<&Caller>) -> Result<Ask, Response> {
        let body_max = self.endpoint.body_max;
        let read = admit(self, caller).and_then(|()| match request.body.len() > body_max {
            true => Err(Refusal::TooLarge { bytes_max: body_max }),
            false => self.read(request, caller),
        });
        let (command, reply) = read.map_err(|refusal| self.refuse(request, &refusal))?;
        let dialect = self.endpoint.dialect;
        Ok(Ask { command, dialect, reply, form: route::form_of(dialect, request) })
    }

    fn read(
        &self,
        request: &Request,
        caller: Option<&Caller>,
    ) -> Result<(Command, Reply), Refusal> {
        let part = &self.part;
        Ok(match (self.endpoint.reads, caller) {
            (Reads::Service(endpoint), _) => {
                let (command, reply) = service::read(endpoint, part, request)?;
                (command, Reply::Service(reply))
            }
            (_, None) => return Err(Refusal::Unauthenticated),
            (Reads::Wellpulse(endpoint), Some(caller)) => {
                let (command, reply) = wellpulse::read(endpoint, part, request, caller)?;
                (command, Reply::Wellpulse(reply))
            }
            (Reads::Batch(endpoint), Some(caller)) => {
                let (command, reply) = batch::read(endpoint, part, request, caller)?;
                (command, Reply::Batch(reply))
            }
            (Reads::Asset(endpoint), Some(caller)) => {
                let (command, reply) = asset::read(endpoint, part, request, caller)?;
                (command, Reply::Asset(reply))
            }
            (Reads::Vet(endpoint), Some(caller)) => {
                let (command, reply) = vet::read(endpoint, request, caller)?;
                (command, Reply::Vet(reply))
            }
            (Reads::Health(endpoint), Some(caller)) => {
                let (command, reply) = health::read(endpoint, part, request, caller)?;
                (command, Reply::Health(reply))
            }
        })
    }
}

fn admit(route: &Route, caller: Option<&Caller>) -> Result<(), Refusal> {
    if route.endpoint.access == Access::Public {
        return Ok(());
    }
    let caller = caller.ok_or(Refusal::Unauthenticated)?;
    if route.endpoint.dialect.is_some_and(|dialect| !caller.dialects.contains(dialect)) {
        return Err(Refusal::missing("Path"));
    }
    match route.endpoint.access {
        Access::Roles(roles) if !roles.contains(&caller.role) => {
            Err(Refusal::forbidden("Your role is not allowed to do this"))
        }
        Access::Public | Access::Anyone | Access::Roles(_) => Ok(()),
    }
}

impl Ask {
    /// The response that says what became of the command.
    ///
    /// An outcome that does not belong to the command is a mistake of the server and says so.
    pub fn answer(&self, outcome: Outcome) -> Response {
        let refusal = match outcome {
            Outcome::Refused(refusal) => refusal,
            outcome => {
                let answered = match &self.reply {
                    Reply::Service(reply) => reply.answer(outcome),
                    Reply::Wellpulse(reply) => reply.answer(outcome),
                    Reply::Batch(reply) => reply.answer(outcome),
                    Reply::Asset(reply) => reply.answer(outcome),
                    Reply::Vet(reply) => reply.answer(outcome),
                    Reply::Health(reply) => reply.answer(outcome),
                };
                match answered {
                    Ok(response) => return response,
                    Err(refusal) => refusal,
                }
            }
        };
        refusal.render(self.form)
    }

    /// The messages that tell a client of [`Command::Follow`] what is on `page`.
    pub fn frames(&self, page: &outcome::Page) -> Vec<String> {
        match &self.reply {
            Reply::Wellpulse(reply) => reply.frames(page),
            Reply::Asset(reply) => reply.frames(page),
            Reply::Service(_) | Reply::Batch(_) | Reply::Vet(_) | Reply::Health(_) => Vec::new(),
        }
    }
}
