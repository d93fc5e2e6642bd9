//! Why a connection ended, as a person or a retry loop can use it.

use std::fmt;
use std::io;

use quinn::{ConnectionError, TransportErrorCode, VarInt};

/// The longest text that is taken from a peer's close frame, in characters.
const TEXT_LENGTH_MAX: usize = 200;

/// TLS alerts travel as transport error codes from here on (RFC 9001, 4.8).
const ALERT_BASE: u64 = 0x100;
const ALERT_BAD_CERTIFICATE: u64 = 42;
const ALERT_UNSUPPORTED_CERTIFICATE: u64 = 43;
const ALERT_CERTIFICATE_UNKNOWN: u64 = 46;
const ALERT_UNKNOWN_CA: u64 = 48;
const ALERT_ACCESS_DENIED: u64 = 49;
const ALERT_DECRYPT_ERROR: u64 = 51;
const ALERT_UNRECOGNIZED_NAME: u64 = 112;
const ALERT_CERTIFICATE_REQUIRED: u64 = 116;
const ALERT_NO_APPLICATION_PROTOCOL: u64 = 120;

/// What one side tells the other when it ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseCode {
    /// Nothing is left to do.
    Done,
    /// The program ends.
    Shutdown,
    /// The other side broke the protocol.
    Protocol,
    /// A member's connection came without a certificate.
    NoCertificate,
    /// Server name and certificate name different tenants.
    OtherTenant,
    /// The policy knows no member with this certificate.
    NotAMember,
    /// Another connection to the same device takes the place of this one.
    Replaced,
    /// There are too many connections.
    Busy,
    /// A code of another version.
    Other(u32),
}

impl CloseCode {
    const KNOWN: [Self; 8] = [
        Self::Done,
        Self::Shutdown,
        Self::Protocol,
        Self::NoCertificate,
        Self::OtherTenant,
        Self::NotAMember,
        Self::Replaced,
        Self::Busy,
    ];

    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::Done => 0,
            Self::Shutdown => 1,
            Self::Protocol => 2,
            Self::NoCertificate => 3,
            Self::OtherTenant => 4,
            Self::NotAMember => 5,
            Self::Replaced => 6,
            Self::Busy => 7,
            Self::Other(number) => number,
        }
    }

    pub(crate) fn from_number(number: u64) -> Self {
        Self::KNOWN
            .into_iter()
            .find(|code| u64::from(code.number()) == number)
            .unwrap_or_else(|| Self::Other(u32::try_from(number).unwrap_or(u32::MAX)))
    }

    pub(crate) fn to_varint(self) -> VarInt {
        VarInt::from_u32(self.number())
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::Shutdown => "it shuts down",
            Self::Protocol => "it saw a breach of the protocol",
            Self::NoCertificate => "it saw no certificate",
            Self::OtherTenant => "it saw a certificate of another tenant",
            Self::NotAMember => "it knows no member with this certificate",
            Self::Replaced => "another connection took the place of this one",
            Self::Busy => "it has too many connections",
            Self::Other(number) => return write!(f, "code {number}"),
        })
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClosedReason {
    /// This side closed it.
    #[error("closed here")]
    Here,
    /// The other side closed it.
    #[error("closed by the other side: {code}")]
    There {
        /// What it said.
        code: CloseCode,
        /// What it added, cleaned for a terminal; never to be trusted.
        text: String,
    },
    /// The other side serves no such tenant; also seen at the first stream after dialling.
    #[error("the other side does not serve this tenant")]
    TenantNotServed,
    /// The other side does not trust this device's certificate.
    #[error("the other side does not accept this device's certificate")]
    CertificateRefused,
    /// Whoever answers is not certified by the tenant's authority.
    #[error("whoever answers there is not certified by this tenant's authority")]
    Impostor,
    /// The other side speaks another version of the protocol.
    #[error("the other side speaks another version of the protocol")]
    OtherProtocol,
    /// Nothing was heard for too long.
    #[error("the connection timed out")]
    TimedOut,
    /// The connection broke otherwise.
    #[error("the connection was lost: {detail}")]
    Lost {
        /// What the transport says.
        detail: String,
    },
}

impl From<ConnectionError> for ClosedReason {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::LocallyClosed => Self::Here,
            ConnectionError::TimedOut => Self::TimedOut,
            ConnectionError::VersionMismatch => Self::OtherProtocol,
            ConnectionError::ApplicationClosed(close) => {
                Self::said(CloseCode::from_number(close.error_code.into_inner()), &close.reason)
            }
            ConnectionError::ConnectionClosed(close) => alert_of(close.error_code)
                .and_then(alert_from_peer)
                .unwrap_or_else(|| Self::lost(&close)),
            ConnectionError::TransportError(error) => {
                alert_of(error.code).and_then(alert_from_here).unwrap_or_else(|| Self::lost(&error))
            }
            ConnectionError::Reset => Self::lost(&"reset by the other side"),
            ConnectionError::CidsExhausted => Self::lost(&"no connection ids are left"),
        }
    }
}

impl ClosedReason {
    /// What the other side said when it ended the connection.
    pub(crate) fn said(code: CloseCode, text: &[u8]) -> Self {
        Self::There { code, text: clean(text) }
    }

    /// Why TLS over TCP, or TCP itself, failed.
    pub(crate) fn of_io(error: &io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let known = match tls {
            Some(rustls::Error::AlertReceived(alert)) => alert_from_peer(u8::from(*alert).into()),
            Some(rustls::Error::InvalidCertificate(_)) => Some(Self::Impostor),
            Some(rustls::Error::NoApplicationProtocol) => Some(Self::OtherProtocol),
            Some(_) => None,
            None => (error.kind() == io::ErrorKind::TimedOut).then_some(Self::TimedOut),
        };
        known.unwrap_or_else(|| Self::lost(error))
    }

    /// Whether whoever answered has said who it is, or what is wrong with this device.
    pub(crate) const fn is_verdict(&self) -> bool {
        match self {
            Self::There { .. }
            | Self::TenantNotServed
            | Self::CertificateRefused
            | Self::Impostor
            | Self::OtherProtocol => true,
            Self::Here | Self::TimedOut | Self::Lost { .. } => false,
        }
    }

    pub(crate) fn lost(detail: &dyn fmt::Display) -> Self {
        Self::Lost { detail: clean(detail.to_string().as_bytes()) }
    }
}

fn alert_of(code: TransportErrorCode) -> Option<u64> {
    u64::from(code).checked_sub(ALERT_BASE)
}

fn alert_from_peer(alert: u64) -> Option<ClosedReason> {
    match alert {
        // A server that knows no certificate for the name denies access.
        ALERT_ACCESS_DENIED | ALERT_UNRECOGNIZED_NAME => Some(ClosedReason::TenantNotServed),
        ALERT_BAD_CERTIFICATE
        | ALERT_UNSUPPORTED_CERTIFICATE
        | ALERT_CERTIFICATE_UNKNOWN
        | ALERT_UNKNOWN_CA
        | ALERT_DECRYPT_ERROR
        | ALERT_CERTIFICATE_REQUIRED => Some(ClosedReason::CertificateRefused),
        ALERT_NO_APPLICATION_PROTOCOL => Some(ClosedReason::OtherProtocol),
        _ => None,
    }
}

fn alert_from_here(alert: u64) -> Option<ClosedReason> {
    match alert {
        ALERT_BAD_CERTIFICATE
        | ALERT_UNSUPPORTED_CERTIFICATE
        | ALERT_CERTIFICATE_UNKNOWN
        | ALERT_UNKNOWN_CA
        | ALERT_DECRYPT_ERROR => Some(ClosedReason::Impostor),
        ALERT_NO_APPLICATION_PROTOCOL => Some(ClosedReason::OtherProtocol),
        _ => None,
    }
}

fn clean(text: &[u8]) -> String {
    String::from_utf8_lossy(text)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(TEXT_LENGTH_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_wire() {
        for code in CloseCode::KNOWN.into_iter().chain([CloseCode::Other(99)]) {
            assert_eq!(CloseCode::from_number(code.to_varint().into_inner()), code);
        }
    }

    #[test]
    fn a_hostile_close_text_cannot_reach_the_terminal() {
        let text = clean(&[b"\x1b[2J".as_slice(), &[0xff; 1000]].concat());
        assert!(text.chars().count() <= TEXT_LENGTH_MAX && !text.contains('\u{1b}'));
    }
}
