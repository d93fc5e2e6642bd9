//! What can be set of a shell, and the limits that cannot.

use std::time::Duration;

use crate::budget::Shares;
use crate::peer::Network;
use crate::rates::Rate;

const MIB: usize = 1024 * 1024;

/// What can be set of a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The domain below which each tenant has a name of its own.
    pub domain: Option<String>,
    /// Which pages of other origins may send requests from a browser.
    pub origins: Origins,
    /// Who may say from which address a request comes.
    pub proxies: Vec<Network>,
    /// How often one address may come.
    pub address_rate: Rate,
    /// How often one user may sync.
    pub sync_rate: Rate,
    /// How often one user may send single operations.
    pub step_rate: Rate,
    /// How often all users of a tenant may come.
    pub tenant_rate: Rate,
    /// How many connections may be open.
    pub connections_max: usize,
    /// How many of them one address may have.
    pub connections_per_address_max: usize,
    /// How many bytes of bodies may be in memory, as they come and inflated.
    pub bodies: Shares,
    /// How many bytes of memory requests may take from when they are understood until they are done.
    pub understood: Shares,
    /// How many bytes of large answers may be in memory, until they are written.
    pub answers: Shares,
    /// How many live streams may be open.
    pub streams: Shares,
    /// How many requests of one tenant may be executed at a time.
    pub executing_max: usize,
    /// How long the answer to a request may take; its work goes on.
    pub patience: Duration,
    /// How long a connection may take to send the head of a request.
    pub head_patience: Duration,
    /// How long a body may make no progress.
    pub body_patience: Duration,
    /// How long a client may read nothing of what is sent to it.
    pub answer_patience: Duration,
    /// How often a live stream shows that it is alive, and asks whether its token still is.
    pub heartbeat: Duration,
    /// How long requests may go on once the server was told to stop.
    pub last_requests: Duration,
    /// What becomes of who connects meanwhile.
    pub latecomers: Latecomers,
    /// Whether the port speaks TLS, so that browsers shall use nothing else.
    pub is_secure: bool,
}

/// What becomes of who connects while the last requests end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Latecomers {
    /// Nobody listens to them.
    Unheard,
    /// Each is answered one request, so that a load balancer hears that it is to go elsewhere; the
    /// dialects take nothing more.
    Answered,
}

/// Which pages of other origins may send requests from a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// All: a token is sent by a page itself, never by its browser for any other page.
    Any,
    /// These alone.
    Only(Vec<String>),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            domain: None,
            origins: Origins::Any,
            proxies: Vec::new(),
            address_rate: Rate::a_second(10),
            sync_rate: Rate::a_minute(30),
            step_rate: Rate::a_minute(600),
            tenant_rate: Rate::a_second(500),
            connections_max: 10_000,
            connections_per_address_max: 256,
            // The largest body fits into the share of one person as it comes and inflated.
            bodies: Shares { all: 256 * MIB, tenant: 192 * MIB, person: 128 * MIB },
            // So does the heaviest.
            understood: Shares { all: 1_024 * MIB, tenant: 512 * MIB, person: 340 * MIB },
            // A browser fetches six photos at a time.
            answers: Shares { all: 512 * MIB, tenant: 256 * MIB, person: 128 * MIB },
            // A phone on a bad link comes back long before it is noticed that its last connection is
            // dead, and a crew may share an account.
            streams: Shares { all: 8_000, tenant: 2_000, person: 64 },
            executing_max: 64,
            patience: Duration::from_secs(60),
            head_patience: Duration::from_secs(15),
            body_patience: Duration::from_secs(30),
            answer_patience: Duration::from_secs(60),
            heartbeat: Duration::from_secs(30),
            last_requests: Duration::from_secs(2),
            latecomers: Latecomers::Unheard,
            is_secure: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_those_of_the_contracts_where_nothing_is_said() {
        let Settings { address_rate, sync_rate, step_rate, .. } = Settings::default();
        assert_eq!((address_rate.count, address_rate.millis), (10, 1_000));
        assert_eq!((sync_rate.count, sync_rate.millis), (30, 60_000));
        assert_eq!((step_rate.count, step_rate.millis), (600, 60_000));
    }

    #[test]
    fn the_largest_and_the_heaviest_body_fit_into_the_share_of_one_person() {
        let Settings { bodies, understood, answers, .. } = Settings::default();
        assert!(fieldmesh_dialect::EVENTS_BODY_MAX * 5 / 4 <= bodies.person);
        assert!(fieldmesh_dialect::WEIGHT_MAX <= understood.person);
        assert!(6 * fieldmesh_dialect::PHOTO_SIZE_MAX <= answers.person);
        for Shares { all, tenant, person } in [bodies, understood, answers] {
            assert!(tenant < all && person < tenant);
        }
    }
}
