//! Where the tenant's relays are.

use fieldmesh::api::{RelayReport, RelayState};

use super::table::{Side, Table};
use super::{Style, Tone, one_line};

/// The addresses of relays as a table.
pub(crate) fn relays(relays: &[RelayReport], style: &Style) -> String {
    let mut table = Table::new([
        ("address", Side::Left),
        ("relay", Side::Left),
        ("state", Side::Left),
        ("in step", Side::Left),
        ("signed by", Side::Left),
        ("since", Side::Left),
        ("why not", Side::Left),
    ]);
    for relay in relays {
        let tone = match relay.state {
            RelayState::Connected => Tone::Good,
            RelayState::Unreachable | RelayState::NotDialled | RelayState::NoRelay => {
                Tone::Doubtful
            }
            RelayState::Reached | RelayState::Untried | RelayState::Own => Tone::Plain,
        };
        table.toned_row([
            (one_line(&relay.address), Tone::Plain),
            (one_line(&relay.name), Tone::Plain),
            (relay.state.as_str().to_owned(), tone),
            (style.time_or(relay.last_in_step, "never"), Tone::Plain),
            (one_line(&relay.by), Tone::Plain),
            (style.time(relay.since), Tone::Plain),
            (one_line(relay.error.as_deref().unwrap_or_default()), Tone::Plain),
        ]);
    }
    table.print(style)
}

/// What is said before a relay is taken in as a gateway.
pub(crate) const GATEWAY_QUESTION: &str = "\
The relay of this claim asks to be a gateway. It then reads every record of this tenant, and writes
records for the people who log in at it: its operator says who they are, and the records name them on
the word of the relay. Other relays store and forward, and write nothing. It ends with `fieldmesh
devices revoke`; what was read stays known.";

/// Addresses that were just signed; one relay has all of them.
pub(crate) fn relays_added(relays: &[RelayReport], style: &Style) -> String {
    let name = relays.first().map_or_else(String::new, |relay| one_line(&relay.name));
    let addresses: Vec<String> = relays.iter().map(|relay| one_line(&relay.address)).collect();
    let was = relays.iter().filter_map(|relay| relay.was.as_deref()).map(one_line);
    let was: String = was.map(|was| format!(", which was {was}")).collect();
    format!(
        "{} {name} is at {}{was}. Every other device learns it at its next sync and dials it by \
         itself.\n",
        style.paint(Tone::Good, "Done:"),
        addresses.join(", "),
    )
}

/// An address that was just taken back.
pub(crate) fn relay_removed(address: &str, was: &str, style: &Style) -> String {
    format!(
        "{} {} was {}, and is no more. Other devices leave it alone from their next sync on.\n",
        style.paint(Tone::Good, "Done:"),
        one_line(address),
        one_line(was),
    )
}
