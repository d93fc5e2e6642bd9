//! What the log says of connectivity and sync: targets and exact texts.
//!
//! Operators and other programs search for these lines, so they are sentences, not fields.

use std::fmt;

/// Who says a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The watch over the network.
    NetworkMonitor,
    /// What decides about syncs.
    SyncEngine,
    /// What goes out.
    SyncPush,
    /// What comes in.
    SyncPull,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// A relay answers.
    Online,
    /// No relay answers.
    Offline,
    /// A relay answers again.
    Restored,
    /// What an automatic sync depends on.
    Conditions { was_offline: bool, sync_on_reconnect: bool, auto_sync_enabled: bool },
    /// It starts.
    Triggered,
    /// It does not.
    Skipped,
    /// It starts because of a reconnect.
    Reconnected,
    /// A periodic sync does not start.
    NotStarted { reason: &'static str },
    /// There is nothing to send.
    NothingToPush,
    /// So much is to be sent.
    Pushing { count: u64 },
    /// So much was sent.
    Pushed { count: u64 },
    /// So much is not sent over the links that there are.
    HeldBack { count: u64 },
    /// So much came.
    Pulled { count: u64 },
    /// People wrote different things.
    Conflicts { count: u64 },
    /// Something went wrong.
    Errors { count: u64 },
    /// An automatic sync succeeded.
    Complete,
    /// An automatic sync succeeded with what links that cost carry.
    Part,
    /// An automatic sync failed.
    Failed,
}

impl Line {
    pub(crate) const fn target(&self) -> Target {
        match self {
            Self::Online
            | Self::Offline
            | Self::Restored
            | Self::Conditions { .. }
            | Self::Triggered
            | Self::Skipped => Target::NetworkMonitor,
            Self::Reconnected
            | Self::NotStarted { .. }
            | Self::Complete
            | Self::Part
            | Self::Failed => Target::SyncEngine,
            Self::NothingToPush
            | Self::Pushing { .. }
            | Self::Pushed { .. }
            | Self::HeldBack { .. }
            | Self::Errors { .. } => Target::SyncPush,
            Self::Pulled { .. } | Self::Conflicts { .. } => Target::SyncPull,
        }
    }

    /// Whether somebody should look.
    pub(crate) const fn is_warning(&self) -> bool {
        matches!(self, Self::Errors { .. } | Self::Failed)
    }

    /// Writes the line to the log.
    pub(crate) fn write(&self) {
        macro_rules! write_to {
            ($target:literal) => {
                if self.is_warning() {
                    tracing::warn!(target: $target, "{self}");
                } else {
                    tracing::info!(target: $target, "{self}");
                }
            };
        }
        match self.target() {
            Target::NetworkMonitor => write_to!("NetworkMonitor"),
            Target::SyncEngine => write_to!("SyncEngine"),
            Target::SyncPush => write_to!("SyncPush"),
            Target::SyncPull => write_to!("SyncPull"),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Online => out.write_str("Device is online"),
            Self::Offline => out.write_str("Device is offline"),
            Self::Restored => out.write_str("[NetworkMonitor] Network connection restored"),
            Self::Conditions { was_offline, sync_on_reconnect, auto_sync_enabled } => write!(
                out,
                "[NetworkMonitor] wasOffline: {was_offline}, syncOnReconnect: \
                 {sync_on_reconnect}, autoSyncEnabled: {auto_sync_enabled}"
            ),
            Self::Triggered => {
                out.write_str("[NetworkMonitor] Conditions met, triggering auto-sync")
            }
            Self::Skipped => {
                out.write_str("[NetworkMonitor] Auto-sync skipped - conditions not met")
            }
            Self::Reconnected => out.write_str("Connectivity restored. Auto-syncing..."),
            Self::NotStarted { reason } => write!(out, "Periodic sync not started: {reason}"),
            Self::NothingToPush => out.write_str("No events to sync"),
            Self::Pushing { count } => write!(out, "Syncing {count} events to cloud..."),
            Self::Pushed { count } => write!(out, "✓ Synced {count} events"),
            Self::HeldBack { count } => write!(out, "{count} batches wait for an unmetered link"),
            Self::Pulled { count } => write!(out, "Received {count} events"),
            Self::Conflicts { count } => write!(out, "⚠ {count} conflicts detected"),
            Self::Errors { count } => write!(out, "✗ {count} errors during sync"),
            Self::Complete => out.write_str("✅ Auto-sync complete"),
            Self::Part => out.write_str("Auto-sync of a part is done, the rest waits"),
            Self::Failed => out.write_str("❌ Auto-sync failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cl_15_and_cl_55_the_texts_that_operators_search_for() {
        let conditions = Line::Conditions {
            was_offline: true,
            sync_on_reconnect: false,
            auto_sync_enabled: true,
        };
        for (line, target, text) in [
            (Line::Online, Target::NetworkMonitor, "Device is online"),
            (Line::Offline, Target::NetworkMonitor, "Device is offline"),
            (
                Line::Restored,
                Target::NetworkMonitor,
                "[NetworkMonitor] Network connection restored",
            ),
            (
                conditions,
                Target::NetworkMonitor,
                "[NetworkMonitor] wasOffline: true, syncOnReconnect: false, autoSyncEnabled: true",
            ),
            (
                Line::Triggered,
                Target::NetworkMonitor,
                "[NetworkMonitor] Conditions met, triggering auto-sync",
            ),
            (
                Line::Skipped,
                Target::NetworkMonitor,
                "[NetworkMonitor] Auto-sync skipped - conditions not met",
            ),
            (Line::Reconnected, Target::SyncEngine, "Connectivity restored. Auto-syncing..."),
            (Line::NothingToPush, Target::SyncPush, "No events to sync"),
            (Line::Pushing { count: 7 }, Target::SyncPush, "Syncing 7 events to cloud..."),
            (Line::Pushed { count: 7 }, Target::SyncPush, "✓ Synced 7 events"),
            (Line::Conflicts { count: 2 }, Target::SyncPull, "⚠ 2 conflicts detected"),
            (Line::Errors { count: 3 }, Target::SyncPush, "✗ 3 errors during sync"),
            (Line::Complete, Target::SyncEngine, "✅ Auto-sync complete"),
            (Line::Failed, Target::SyncEngine, "❌ Auto-sync failed"),
        ] {
            assert_eq!((line.target(), line.to_string().as_str()), (target, text));
        }
    }
}
