//! The routes: `/v1` and what answers them.

mod compact;
mod conflicts;
mod devices;
mod drafts;
mod evict;
mod home;
mod notices;
mod purges;
mod queries;
mod records;
mod relays;
mod schemas;
mod transfer;

use axum::Router;
use axum::routing::{delete, get, post, put};

use super::Shared;
use super::answer::{no_method, no_route};

/// Every route.
pub(super) fn router(shared: Shared) -> Router {
    Router::new()
        .route("/v1/records", get(records::list).post(records::record).patch(queries::edit_all))
        .route("/v1/pages", get(queries::page))
        .route("/v1/count", get(queries::count))
        .route("/v1/records/{id}", get(records::show).patch(records::edit).delete(records::delete))
        .route("/v1/records/{id}/restore", post(records::restore))
        .route("/v1/records/{id}/approval", post(records::approve))
        .route("/v1/records/{id}/history", get(records::history))
        .route("/v1/records/{id}/past", get(queries::show_at))
        .route("/v1/conflicts", get(conflicts::list))
        .route("/v1/conflicts/resolve", post(conflicts::resolve_all))
        .route("/v1/conflicts/{id}", get(conflicts::show))
        .route("/v1/conflicts/{id}/comments", post(conflicts::comment))
        .route("/v1/conflicts/{id}/resolve", post(conflicts::resolve))
        .route("/v1/conflicts/{id}/verdict", post(conflicts::decide))
        .route("/v1/notices", get(notices::list))
        .route("/v1/notices/seen", post(notices::see))
        .route("/v1/import", post(transfer::import))
        .route("/v1/export", get(transfer::export))
        .route("/v1/sync", post(transfer::sync))
        .route("/v1/backup", post(transfer::backup))
        .route("/v1/warnings", get(home::warnings))
        .route("/v1/status", get(home::status))
        .route("/v1/connectivity", get(home::connectivity).patch(home::configure_sync))
        .route("/v1/connectivity/sync", post(home::sync_now))
        .route("/v1/peers", get(home::peers))
        .route("/v1/devices", get(devices::list))
        .route("/v1/devices/{id}/revoke", post(devices::revoke))
        .route("/v1/devices/{id}/adopt", post(devices::adopt))
        .route("/v1/relays", get(relays::list).post(relays::add))
        .route("/v1/relays/{address}", delete(relays::remove))
        .route("/v1/invitations", post(home::invite))
        .route("/v1/verify", post(home::verify))
        .route("/v1/compact", post(compact::compact))
        .route("/v1/evict", get(evict::kept).post(evict::evict))
        .route("/v1/rekey", post(home::rekey))
        .route("/v1/doctor", get(home::doctor))
        .route("/v1/doctor/accept", post(home::accept_losses))
        .route("/v1/purges", get(purges::list).post(purges::purge))
        .route("/v1/drafts", get(drafts::list).post(drafts::change))
        .route("/v1/drafts/{id}", get(drafts::show))
        .route("/v1/drafts/{id}/submit", post(drafts::submit))
        .route("/v1/schemas", get(schemas::list).post(schemas::take))
        .route("/v1/schemas/{name}", get(schemas::show))
        .route("/v1/log", put(home::log))
        .route("/v1/stop", post(home::stop))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .with_state(shared)
}
