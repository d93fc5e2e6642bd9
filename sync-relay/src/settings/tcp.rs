//! Where devices in networks that let no UDP through reach the relay.

use std::net::SocketAddr;
use std::str::FromStr;

use fieldmesh_net::TcpPort;
use serde::Deserialize;

/// What somebody said of TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum TcpSaid {
    /// Nobody is served over it.
    Off,
    /// An address of its own.
    At(SocketAddr),
}

impl TcpSaid {
    /// What to do; without a word it is the address of QUIC.
    pub(super) fn port(said: Option<Self>) -> TcpPort {
        match said {
            None => TcpPort::Beside,
            Some(Self::Off) => TcpPort::Off,
            Some(Self::At(address)) => TcpPort::At(address),
        }
    }
}

impl FromStr for TcpSaid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::At).map_err(|_| {
            format!("{text:?} is neither `off` nor an address; write it like [::]:7843")
        })
    }
}

impl TryFrom<String> for TcpSaid {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp_is_an_address_or_off() {
        assert_eq!("off".parse(), Ok(TcpSaid::Off));
        assert_eq!("[::]:443".parse(), Ok(TcpSaid::At("[::]:443".parse().unwrap())));
        for text in ["", "on", "7843", "relay.example.org:7843"] {
            let error = text.parse::<TcpSaid>().unwrap_err();
            assert!(error.contains("neither `off` nor an address"), "{error}");
        }
    }
}
