//! A request of a device that syncs, from its body to its answer.

use std::time::Instant;

use fieldmesh_dialect::{Bucket, Caller, Request, Response, Route};

use crate::host::{Host, Passed, Proof};

/// What is counted once it is answered.
pub(super) struct Passing {
    caller: Caller,
    device: String,
    bytes_in: u64,
    begun: Instant,
}

impl Passing {
    /// Nothing where it is no sync, or nobody knows of which device.
    pub(super) fn begin(
        route: &Route,
        caller: Option<&Caller>,
        proof: &Proof,
        request: &Request,
    ) -> Option<Self> {
        let endpoint = route.endpoint;
        let is_sync = endpoint.dialect.is_some() && endpoint.bucket != Bucket::Address;
        let caller = caller.filter(|_| is_sync)?;
        let device = caller.device.clone().or_else(|| proof.origin.device.clone())?;
        let bytes_in = request.body.len() as u64;
        Some(Self { caller: caller.clone(), device, bytes_in, begun: Instant::now() })
    }

    pub(super) fn tell(self, host: &dyn Host, answer: &Response) {
        let passed = Passed {
            bytes_in: self.bytes_in,
            bytes_out: answer.body.len() as u64,
            millis: u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            is_success: answer.status < 400,
        };
        host.passed(&self.caller, &self.device, passed);
    }
}
