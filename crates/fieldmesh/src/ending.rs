//! Why a conversation ended or never began, in words that say what to do.
//!
//! What peers and the wire report are codes and facts; nobody but a log should have to read those.
//! Every sentence says which side has the fault and what the next step is.

use fieldmesh_net::{CloseCode, ClosedReason, DialError};
use fieldmesh_replica::{CloseReason, SessionError};
use fieldmesh_store::AppendError;

use crate::error::with_causes;

const ASK: &str = "is it switched on, in the same network, and is the address right?";
const UPDATE: &str = "update the older of the two programs";

/// Why a link was closed by the replica; `is_revoked` where this device is no member any more.
pub(crate) fn of_link(reason: &CloseReason, is_revoked: bool) -> String {
    match reason {
        CloseReason::Fault(SessionError::Reported { code, .. }) => reported(*code, is_revoked),
        CloseReason::Fault(fault) => found(fault),
        CloseReason::Bye => "it said goodbye before both were in step; sync again".into(),
        other => other.to_string(),
    }
}

/// Whether the next conversation is likely to end as this one did, so that it is to wait.
pub(crate) fn is_likely_again(reason: &CloseReason) -> bool {
    let code = match reason {
        CloseReason::Fault(SessionError::Reported { code, .. }) => *code,
        CloseReason::Fault(_) => reason.code(),
        _ => return false,
    };
    // Who is a member is asked once more, and a line that was lost is to be used as it is back.
    let passing = [SessionError::NotMember, SessionError::Silent].map(CloseReason::from);
    !passing.iter().any(|passing| passing.code() == code)
}

/// A fault that this side found with the peer.
fn found(fault: &SessionError) -> String {
    let breach = format!(
        "it sends what this program cannot take ({}); {UPDATE}, and if that does not help, run \
         `verify` on the other side",
        with_causes(fault)
    );
    match fault {
        SessionError::Version { .. } => format!("{fault}; {UPDATE}"),
        SessionError::Tenant => "it belongs to another tenant; check the address".into(),
        SessionError::NotMember => {
            "it is no member of this tenant any more, so nothing is exchanged with it; see \
             `fieldmesh devices`"
                .into()
        }
        SessionError::TooManyRefused => {
            "it offers mostly what the policy does not let it write, so nothing more is taken from \
             it; whoever uses it needs another role, or `devices revoke` shuts it out"
                .into()
        }
        SessionError::NotStored => {
            "what it sent cannot be stored here: the disk is full or fails, or the store is \
             damaged; make room, and run `fieldmesh verify`, on a relay `sync-relay verify`"
                .into()
        }
        SessionError::NotGranted => {
            "what it sent is not taken: its tenant has used up what it may store here; it is kept \
             there and sent again"
                .into()
        }
        SessionError::BatchTooLarge { .. } => {
            "a batch here is too large to be sent; run `fieldmesh verify`, on a relay \
             `sync-relay verify`, and report what it says"
                .into()
        }
        SessionError::TooManyGrants { .. } => {
            "this device serves too many others of which each may see another part, or this one \
             too often; sync again later"
                .into()
        }
        SessionError::Silent => {
            "it fell silent in the middle; it may be out of reach or stopped. Nothing is lost, \
             sync again when it is back"
                .into()
        }
        _ => breach,
    }
}

/// A fault that the peer reports, by the number of [`CloseReason::code`].
fn reported(code: u16, is_revoked: bool) -> String {
    let what = match code {
        4 => return format!("it speaks another version of the protocol; {UPDATE}"),
        5 => return "it belongs to another tenant; check the address".into(),
        6 if is_revoked => return "it does not talk to this device, which was revoked".into(),
        6 => {
            return "it knows this device as no member of the tenant; ask an admin for a new \
                    invitation, and join with it in a new home"
                .into();
        }
        12 => {
            return "it takes nothing more from this device, because the policy there does not let \
                    this device write most of what it offers; ask an admin for the role it needs"
                .into();
        }
        13 => {
            return "it cannot read a batch or policy item that this device sent; run \
                    `fieldmesh verify` here, on a relay `sync-relay verify`"
                .into();
        }
        15 => "it waited too long for this device",
        17 => {
            // Relays of before say it of a quota too.
            return "it cannot store what this device sent: its disk is full or fails, its store is \
                    damaged, or a relay may store no more for this tenant. Nothing is lost, it is \
                    sent again; whoever runs it makes room and runs `verify` there, and on a relay \
                    `sync-relay tenant list`, which says which it is"
                .into();
        }
        20 => "it serves too many others at the moment",
        21 => {
            return "it may store no more for this tenant: the quota of the tenant there is used up. \
                    Nothing is lost: what was recorded stays here, is sent again by itself, and \
                    goes to other devices as ever; ask whoever runs the relay to grant more \
                    (`stored_bytes_max`) or to free space"
                .into();
        }
        14 => {
            return "a batch there is too large to be sent; run `verify` on the other side and \
                    report what it says"
                .into();
        }
        2 | 3 | 7..=11 | 16 | 18 | 19 => {
            return format!(
                "it cannot take what this program sends (code {code}); {UPDATE}, and if that does \
                 not help, run `fieldmesh verify` here, on a relay `sync-relay verify`"
            );
        }
        code => {
            return format!(
                "it ended the conversation for a reason that this version does not know (code \
                 {code}); {UPDATE}"
            );
        }
    };
    format!("{what}; sync again in a while")
}

/// Why a connection that was there ended.
pub(crate) fn of_connection(reason: &ClosedReason) -> String {
    let step = match reason {
        ClosedReason::Here => return "this device ended the connection; sync again".into(),
        ClosedReason::TenantNotServed => {
            return "whoever answers there does not serve this tenant: the address leads to \
                    another one, or the tenant's store there is damaged or cannot be opened; check \
                    the address, and whoever runs a relay there sees why with `sync-relay tenant \
                    list`"
                .into();
        }
        ClosedReason::CertificateRefused => {
            "ask an admin whether this device is still a member, and for a new invitation if not"
        }
        ClosedReason::Impostor => {
            "check the address; if it is right, somebody else answers at it, so tell an admin"
        }
        ClosedReason::OtherProtocol => UPDATE,
        ClosedReason::TimedOut | ClosedReason::Lost { .. } => {
            "nothing is lost, sync again when the network is back"
        }
        ClosedReason::There { code, .. } => match code {
            CloseCode::NoCertificate | CloseCode::OtherTenant => "check the address",
            CloseCode::NotAMember => {
                "ask an admin whether this device is still a member, and for a new invitation if \
                 not"
            }
            CloseCode::Protocol => UPDATE,
            CloseCode::Other(_) => UPDATE,
            _ => "nothing is lost, sync again in a while",
        },
        _ => "sync again in a while",
    };
    format!("{reason}; {step}")
}

/// Why no connection came about.
pub(crate) fn of_dial(error: &DialError) -> String {
    match error {
        DialError::Refused { reason, .. } => {
            format!("{error}: {}", of_connection(reason))
        }
        DialError::NoWay { quic, .. } if matches!(**quic, DialError::NoAnswer { .. }) => {
            format!("{error}; {ASK}")
        }
        DialError::NoAnswer { .. } => {
            format!("{error}; {ASK}")
        }
        other => with_causes(other),
    }
}

/// What a peer sent could not be stored here.
pub(crate) fn not_stored(error: &AppendError) -> String {
    let what = "what it sent cannot be stored here";
    if matches!(error, AppendError::QuotaUsed { .. }) {
        return format!("{what}: {error}; it is kept there and sent again");
    }
    format!(
        "{what}: {error}; make room on the disk, and run `fieldmesh verify`, on a relay \
         `sync-relay verify`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: u16) -> String {
        let text = "peer is not a member".to_owned();
        of_link(&SessionError::Reported { code, text }.into(), false)
    }

    #[test]
    fn whoever_syncs_reads_no_number_where_a_sentence_says_what_to_do() {
        for code in 0..40 {
            let words = told(code);
            assert!(!words.contains("fault"), "{code}: {words}");
            let steps = ["update", "check", "ask", "run", "sync again", "runs `verify`"];
            assert!(steps.iter().any(|step| words.contains(step)), "{code}: {words}");
        }
        assert!(told(17).contains("its store is damaged, or a relay may"), "{}", told(17));
        assert!(told(21).contains("the quota of the tenant there is used up"), "{}", told(21));
        let gone = SessionError::Reported { code: 6, text: String::new() };
        assert!(of_link(&gone.into(), true).contains("revoked"));
        for fault in [SessionError::Silent, SessionError::NotStored, SessionError::NotMember] {
            assert!(found(&fault).contains("; ") || found(&fault).contains(". "), "{fault}");
        }
    }

    #[test]
    fn whoever_is_refused_for_a_reason_that_lasts_waits_before_it_asks_again() {
        let reported = |code| SessionError::Reported { code, text: String::new() };
        for waits in [reported(17), reported(20), reported(21), SessionError::TooManyRefused] {
            assert!(is_likely_again(&waits.into()));
        }
        for soon in [reported(6), reported(15), SessionError::NotMember, SessionError::Silent] {
            assert!(!is_likely_again(&soon.into()));
        }
        assert!(!is_likely_again(&CloseReason::Bye) && !is_likely_again(&CloseReason::Duplicate));
    }

    #[test]
    fn a_relay_that_cannot_open_its_store_is_no_riddle() {
        let address = ([127, 0, 0, 1], 7843).into();
        let reason = ClosedReason::TenantNotServed;
        let words = of_dial(&DialError::Refused { address, reason });
        assert!(words.contains("damaged"), "{words}");
        assert!(words.contains("sync-relay tenant list"), "{words}");
    }
}
