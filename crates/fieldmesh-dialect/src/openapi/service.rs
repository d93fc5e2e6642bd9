//! Sessions, passwords, photos and the health of the server.

use serde_json::{Value as Json, json};

use super::describe::Described;
use super::schema::{
    Named, any, count, filled, flag, list, maybe, name, object, of, page_size, text, time, whole,
    words,
};
use crate::service::Endpoint;

const PHOTOS: [&str; 4] = ["image/jpeg", "image/png", "image/webp", "image/heic"];

pub(super) fn described(endpoint: Endpoint) -> Described {
    let bytes = || json!({ "type": "string", "format": "binary" });
    let tenant = "The tenant, where the host does not name it";
    let device = "The device; the session belongs to the first that it names";
    match endpoint {
        Endpoint::Login => Described::new("Open a session")
            .header("X-Tenant-Subdomain?", tenant)
            .header("X-Device-Id?", device)
            .takes(of("Login"))
            .gives(200, of("Session"))
            .refuses(401)
            .refuses(404),
        Endpoint::Refresh => Described::new("Renew a session")
            .header("X-Tenant-Subdomain?", tenant)
            .header("X-Device-Id?", device)
            .takes(of("Refresh"))
            .gives(200, of("Renewed"))
            .refuses(401)
            .refuses(404),
        Endpoint::ChangePassword => {
            Described::new("Choose another password; every session ends but the new one")
                .takes(of("PasswordChange"))
                .gives(200, of("Renewed"))
        }
        Endpoint::MakeResetCode => {
            Described::new("Make a code for somebody who forgot his password")
                .takes(of("ResetCodeOrder"))
                .gives(200, of("ResetCode"))
        }
        Endpoint::ResetPassword => Described::new("Choose another password with a code")
            .header("X-Tenant-Subdomain?", tenant)
            .header("X-Device-Id?", device)
            .takes(of("PasswordReset"))
            .gives(200, of("Session"))
            .refuses(404),
        Endpoint::KeepPhoto => {
            let form = object(&[("file", bytes())]);
            let images = PHOTOS.map(|media| (media, bytes()));
            let media = images.into_iter().chain([("multipart/form-data", form)]);
            Described::new("Keep a photo, or a part of one")
                .header("Content-Range?", "Which part it is: bytes 0-499/1234")
                .header("X-Content-SHA256?", "The SHA-256 of the whole photo, in hex")
                .takes_media(&media.collect::<Vec<_>>())
                .gives(201, of("Photo"))
                .gives(200, of("Photo"))
                .gives(202, of("Photo"))
                .refuses(409)
        }
        Endpoint::GivePhoto => Described::new("Give a photo").gives_media(200, "image/*", bytes()),
        Endpoint::Health => Described::new("Whether requests are served").gives(200, of("Health")),
        Endpoint::Fleet => Described::new("List the devices of the tenant, and how they fare")
            .query("silentHours?", count(), "Only those heard, and not for so many hours")
            .query("failing?", flag(), "Only those of whose recent attempts too many failed")
            .query("backlog?", flag(), "Only those with operations that are not processed")
            .query("limit?", page_size(), "The most devices of the answer")
            .query("cursor?", text(), "Where to go on")
            .gives(200, of("FleetPage")),
        Endpoint::Rejected => Described::new("List what could not be stored, with its contents")
            .query("limit?", page_size(), "The most of the answer")
            .query("cursor?", text(), "Where to go on")
            .gives(200, of("RejectedPage")),
    }
}

/// An operation that failed, or a part of a request that is none and has its content alone.
fn rejected() -> Json {
    object(&[
        ("id", text()),
        ("contract", maybe(text())),
        ("userId", maybe(text())),
        ("deviceId", maybe(text())),
        ("receivedAt", maybe(time())),
        ("reason", text()),
        ("content", any()),
        ("operation?", words(&["CREATE", "UPDATE", "DELETE"])),
        ("type?", text()),
        ("entityId?", maybe(name())),
        ("timestamp?", time()),
        ("retryCount?", count()),
    ])
}

/// A device, of which what is null is not known.
fn fleet_device() -> Json {
    let kind = words(&["device", "app"]);
    let members = [
        ("kind", kind),
        ("device", text()),
        ("name", maybe(text())),
        ("user", maybe(text())),
        ("role", maybe(text())),
        ("lastContact", maybe(time())),
        ("lastInStep", maybe(time())),
        ("version", maybe(text())),
        ("platform", maybe(text())),
        ("protocol", maybe(count())),
        ("clockAheadMillis", maybe(whole())),
        ("unsent", maybe(count())),
        ("oldestUnsent", maybe(time())),
        ("conflicts", maybe(count())),
        ("attempts", count()),
        ("failures", count()),
        ("recentAttempts", count()),
        ("recentFailures", count()),
        ("failing", flag()),
        ("lastFailureAt", maybe(time())),
        ("lastFailure", maybe(text())),
        ("refused", count()),
        ("delaySeconds", maybe(count())),
        ("bytesIn", maybe(count())),
        ("bytesOut", maybe(count())),
    ];
    object(&members)
}

pub(super) fn schemas() -> Named {
    let fault = object(&[("field", text()), ("message", text())]);
    let role = words(&[
        "OPERATOR",
        "MANAGER",
        "ADMIN",
        "MEMBER",
        "PRACTITIONER",
        "HEALTH_WORKER",
        "CLIENT",
    ]);
    let tokens = [("accessToken", text()), ("refreshToken", text()), ("expiresIn", count())];
    let user = [("id", text()), ("email", text()), ("name", text()), ("role", role)];
    let opened = [("user", of("User")), ("tenantId", text())];
    vec![
        (
            "Error",
            object(&[("statusCode", count()), ("message", text()), ("errors?", list(fault))]),
        ),
        ("Login", object(&[("email", filled()), ("password", filled())])),
        ("Refresh", object(&[("refreshToken", filled()), ("deviceId?", text())])),
        ("PasswordChange", object(&[("currentPassword", filled()), ("newPassword", filled())])),
        (
            "PasswordReset",
            object(&[("email", filled()), ("code", filled()), ("newPassword", filled())]),
        ),
        ("ResetCodeOrder", object(&[("email", filled()), ("currentPassword", filled())])),
        ("ResetCode", object(&[("code", text()), ("expiresAt", time())])),
        ("User", object(&user)),
        ("Session", object(&[&tokens[..], &opened].concat())),
        ("Renewed", object(&tokens)),
        (
            "Photo",
            object(&[("url", text()), ("id", text()), ("size", count()), ("contentType", text())]),
        ),
        ("FleetDevice", fleet_device()),
        (
            "FleetPage",
            object(&[
                ("devices", list(of("FleetDevice"))),
                ("nextCursor", maybe(text())),
                ("hasMore", flag()),
            ]),
        ),
        ("Rejected", rejected()),
        (
            "RejectedPage",
            object(&[
                ("rejected", list(of("Rejected"))),
                ("nextCursor", maybe(text())),
                ("hasMore", flag()),
                ("dropped", count()),
            ]),
        ),
        ("Health", object(&[("status", text()), ("serverTime", time()), ("version", text())])),
    ]
}
