//! What is measured of the devices of tenants: how many are how, never which.

use fieldmesh::api::{DELAY_BOUNDS, DURATION_BOUNDS_MILLIS};

use super::{TenantMeasures, head, line};
use crate::fleet::{Delays, Durations, FAILING_PERCENTS, SILENT_HOURS};

/// How many measures there are.
#[cfg(test)]
pub(super) const COUNT: usize = 10;

/// Adds what is measured of fleets; of a tenant from which no device was heard there is nothing.
pub(super) fn render(text: &mut String, tenants: &[TenantMeasures]) {
    let heard: Vec<&TenantMeasures> =
        tenants.iter().filter(|tenant| tenant.fleet.heard != [0, 0]).collect();
    head(text, "devices", "gauge", "Devices that were heard, and devices of apps.");
    for tenant in &heard {
        labelled(text, "devices", tenant, "kind", ["device", "app"], tenant.fleet.heard);
    }
    head(text, "devices_silent", "gauge", "Devices that were not heard for longer than that.");
    for tenant in &heard {
        labelled(text, "devices_silent", tenant, "hours", SILENT_HOURS, tenant.fleet.silent);
    }
    let help = "Devices whose clocks were more than a day off when they were heard last.";
    head(text, "devices_clock_off", "gauge", help);
    for tenant in &heard {
        let labels = [("tenant", tenant.tenant.as_str())];
        line(text, "devices_clock_off", &labels, tenant.fleet.clock_off);
    }
    let help = "Devices of whose attempts of today and yesterday more than that failed.";
    head(text, "devices_failing", "gauge", help);
    for tenant in &heard {
        let failing = tenant.fleet.failing;
        labelled(text, "devices_failing", tenant, "percent", FAILING_PERCENTS, failing);
    }
    let help = "Conversations with devices by whether both came to hold the same.";
    head(text, "conversations_total", "counter", help);
    for tenant in &heard {
        let ended = ["in_step", "cut_off"];
        labelled(text, "conversations_total", tenant, "end", ended, tenant.fleet.conversations);
    }
    head(text, "backlog_operations", "gauge", "Operations of apps that nobody has processed.");
    backlog(text, "backlog_operations", tenants, |(operations, _)| operations);
    head(text, "backlog_oldest_seconds", "gauge", "How long ago the oldest of these was made.");
    backlog(text, "backlog_oldest_seconds", tenants, |(_, seconds)| seconds);
    let help = "How long after it was written something arrived, by the clock of its device.";
    head(text, "sync_delay_seconds", "histogram", help);
    for tenant in &heard {
        let Delays { counts, seconds } = tenant.fleet.delays;
        let bounds = DELAY_BOUNDS.map(|bound| bound as f64);
        histogram(text, "sync_delay_seconds", tenant, &bounds, &counts, seconds as f64);
    }
    let help = "How long conflicts were open that apps settled.";
    head(text, "conflict_open_seconds", "histogram", help);
    for tenant in &heard {
        let Delays { counts, seconds } = tenant.fleet.settlements;
        let bounds = DELAY_BOUNDS.map(|bound| bound as f64);
        histogram(text, "conflict_open_seconds", tenant, &bounds, &counts, seconds as f64);
    }
    let help = "How long conversations took until both held the same.";
    head(text, "conversation_seconds", "histogram", help);
    for tenant in &heard {
        let Durations { counts, millis } = tenant.fleet.durations;
        let bounds = DURATION_BOUNDS_MILLIS.map(seconds_of);
        histogram(text, "conversation_seconds", tenant, &bounds, &counts, seconds_of(millis));
    }
}

fn labelled<const N: usize>(
    text: &mut String,
    name: &str,
    tenant: &TenantMeasures,
    label: &str,
    of: [impl ToString; N],
    counts: [u64; N],
) {
    for (of, count) in of.into_iter().zip(counts) {
        line(text, name, &[("tenant", &tenant.tenant), (label, &of.to_string())], count);
    }
}

fn backlog(
    text: &mut String,
    name: &str,
    tenants: &[TenantMeasures],
    value: fn((u64, u64)) -> u64,
) {
    for tenant in tenants {
        if let Some(backlog) = tenant.fleet.backlog {
            line(text, name, &[("tenant", &tenant.tenant)], value(backlog));
        }
    }
}

const fn seconds_of(millis: u64) -> f64 {
    millis as f64 / 1_000.0
}

fn histogram(
    text: &mut String,
    name: &str,
    tenant: &TenantMeasures,
    bounds: &[f64],
    counts: &[u64],
    sum: f64,
) {
    let tenant = tenant.tenant.as_str();
    let bounds = bounds.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
    let mut below = 0;
    for (bound, count) in bounds.zip(counts) {
        below += count;
        line(text, &format!("{name}_bucket"), &[("tenant", tenant), ("le", &bound)], below);
    }
    line(text, &format!("{name}_sum"), &[("tenant", tenant)], sum);
    line(text, &format!("{name}_count"), &[("tenant", tenant)], below);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Figures;

    #[test]
    fn a_fleet_is_counted_and_nobody_in_it_named() {
        let mut delays = Delays { counts: [0; 9], seconds: 700_000 };
        (delays.counts[0], delays.counts[8]) = (4, 1);
        let fleet = Figures {
            heard: [12, 3],
            silent: [5, 2, 0],
            failing: [4, 1, 0],
            clock_off: 2,
            conversations: [90, 7],
            backlog: Some((11_000, 90_000)),
            delays,
            settlements: Delays { counts: [0, 0, 3, 0, 0, 0, 0, 0, 1], seconds: 300_000 },
            durations: Durations { counts: [2, 0, 3, 0, 0, 0, 0, 0], millis: 1_850 },
        };
        let tenants = [
            TenantMeasures { tenant: "a1a1a1a1".into(), fleet, ..TenantMeasures::default() },
            TenantMeasures { tenant: "b2b2b2b2".into(), ..TenantMeasures::default() },
        ];
        let mut text = String::new();
        render(&mut text, &tenants);
        for line in [
            "sync_relay_devices{tenant=\"a1a1a1a1\",kind=\"app\"} 3",
            "sync_relay_devices_silent{tenant=\"a1a1a1a1\",hours=\"72\"} 2",
            "sync_relay_devices_failing{tenant=\"a1a1a1a1\",percent=\"10\"} 1",
            "sync_relay_devices_clock_off{tenant=\"a1a1a1a1\"} 2",
            "sync_relay_conversations_total{tenant=\"a1a1a1a1\",end=\"cut_off\"} 7",
            "sync_relay_backlog_operations{tenant=\"a1a1a1a1\"} 11000",
            "sync_relay_backlog_oldest_seconds{tenant=\"a1a1a1a1\"} 90000",
            "sync_relay_sync_delay_seconds_bucket{tenant=\"a1a1a1a1\",le=\"1\"} 4",
            "sync_relay_sync_delay_seconds_bucket{tenant=\"a1a1a1a1\",le=\"259200\"} 4",
            "sync_relay_sync_delay_seconds_bucket{tenant=\"a1a1a1a1\",le=\"+Inf\"} 5",
            "sync_relay_sync_delay_seconds_sum{tenant=\"a1a1a1a1\"} 700000",
            "sync_relay_sync_delay_seconds_count{tenant=\"a1a1a1a1\"} 5",
            "sync_relay_conflict_open_seconds_bucket{tenant=\"a1a1a1a1\",le=\"60\"} 3",
            "sync_relay_conflict_open_seconds_count{tenant=\"a1a1a1a1\"} 4",
            "sync_relay_conversation_seconds_bucket{tenant=\"a1a1a1a1\",le=\"0.05\"} 2",
            "sync_relay_conversation_seconds_bucket{tenant=\"a1a1a1a1\",le=\"+Inf\"} 5",
            "sync_relay_conversation_seconds_sum{tenant=\"a1a1a1a1\"} 1.85",
        ] {
            assert!(text.lines().any(|written| written == line), "{line}\n{text}");
        }
        assert!(!text.contains("b2b2b2b2"), "{text}");
        assert_eq!(text.matches("# HELP").count(), COUNT);
    }
}
