//! A request of a device that syncs, from its head to its answer.

use std::time::Instant;

use axum::body::HttpBody as _;
use axum::response::Response;
use fieldmesh_dialect::{Caller, Request, Route};

use crate::host::{Host, Passed, Proof};

/// What is counted once it is answered, whatever the answer is.
pub(super) struct Passing {
    is_sync: bool,
    /// Who sends it, once that is proven; of nobody else anything is counted.
    caller: Option<Caller>,
    device: Option<String>,
    bytes_in: u64,
    begun: Instant,
}

impl Passing {
    pub(super) fn begin(route: &Route) -> Self {
        let is_sync = route.endpoint.is_sync();
        Self { is_sync, caller: None, device: None, bytes_in: 0, begun: Instant::now() }
    }

    /// Notes who sends it, and the device that his token, a header or the query names.
    pub(super) fn prove(
        &mut self,
        caller: &Caller,
        proof: &Proof,
        route: &Route,
        request: &Request,
    ) {
        let named = || proof.origin.device.clone().or_else(|| route.device_in_query(request));
        self.device = caller.device.clone().or_else(named);
        self.caller = Some(caller.clone());
    }

    /// Notes how large its body is.
    pub(super) fn receive(&mut self, body: &[u8]) {
        self.bytes_in = body.len() as u64;
    }

    /// Whether only the body can tell of which device it is.
    pub(super) fn is_nameless(&self) -> bool {
        self.is_sync && self.caller.is_some() && self.device.is_none()
    }

    /// Notes the device that the body names.
    pub(super) fn name(&mut self, device: Option<String>) {
        self.device = self.device.take().or(device);
    }

    /// The tenant of who sends it, once that is proven.
    pub(super) fn tenant(&self) -> Option<&str> {
        self.caller.as_ref().map(|caller| caller.tenant.as_str())
    }

    /// Nothing where it is no sync, or nobody knows of whom or of which device.
    pub(super) fn tell(self, host: &dyn Host, answer: &Response) {
        let (true, Some(caller), Some(device)) = (self.is_sync, self.caller, self.device) else {
            return;
        };
        let passed = Passed {
            bytes_in: self.bytes_in,
            // A stream that stays open has no size.
            bytes_out: answer.body().size_hint().exact().unwrap_or_default(),
            millis: u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            is_success: answer.status().as_u16() < 400,
        };
        host.passed(&caller, &device, passed);
    }
}
