//! What all dialects share: sessions, passwords, photos and the health of the server.

use fieldmesh_model::Role;
use serde_json::{Value as Json, json};

use crate::command::{
    Command, FleetQuery, Login, PasswordChange, PasswordReset, PhotoUpload, Refresh, RejectedQuery,
    ResetCodeOrder, Secret,
};
use crate::form::{Form, object};
use crate::outcome::{Outcome, Rejected, Session};
use crate::reason::MISFIT;
use crate::refusal::Refusal;
use crate::request::{Method, Request};
use crate::response::Response;
use crate::route::{self, Access, Bucket, Reads};

mod multipart;

/// The types of photos that are taken.
const PHOTO_TYPES: [&str; 4] = ["image/jpeg", "image/png", "image/webp", "image/heic"];
/// How long a photo stays in caches; its name is its content, so it never changes.
const PHOTO_CACHE: &str = "private, max-age=31536000, immutable";
/// The roles that keep photos.
const CREW: &[Role] = &[Role::Operator, Role::Manager, Role::Admin];
/// The roles that watch over devices.
const LEADS: &[Role] = &[Role::Manager, Role::Admin];
/// The most of one page of a list.
const PAGE_MAX: usize = 1_000;
/// How much there is unless the request says so.
const PAGE_DEFAULT: usize = 100;
/// The roles that help people who forgot their password, and read what could not be stored.
const ADMINS: &[Role] = &[Role::Admin];

#[derive(Debug, Clone, Copy)]
pub(crate) enum Endpoint {
    Login,
    Refresh,
    ChangePassword,
    MakeResetCode,
    ResetPassword,
    KeepPhoto,
    GivePhoto,
    Health,
    Fleet,
    Rejected,
}

#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Session,
    Renewed,
    ResetCode,
    PhotoKept,
    Photo,
    Health,
    Alive,
    Fleet,
    Rejected,
}

const fn endpoint(
    id: &'static str,
    method: Method,
    path: &'static str,
    reads: Endpoint,
) -> route::Endpoint {
    route::Endpoint {
        id,
        dialect: None,
        method,
        path,
        access: Access::Public,
        bucket: Bucket::Address,
        body_max: route::SESSION_BODY_MAX,
        reads: Reads::Service(reads),
    }
}

pub(crate) const ENDPOINTS: &[route::Endpoint] = &[
    endpoint("E0-4", Method::Post, "/auth/login", Endpoint::Login),
    endpoint("E0-5", Method::Post, "/auth/refresh", Endpoint::Refresh),
    route::Endpoint {
        access: Access::Anyone,
        ..endpoint("password-change", Method::Post, "/auth/password", Endpoint::ChangePassword)
    },
    route::Endpoint {
        access: Access::Roles(ADMINS),
        ..endpoint("password-code", Method::Post, "/auth/password/code", Endpoint::MakeResetCode)
    },
    endpoint("password-reset", Method::Post, "/auth/password/reset", Endpoint::ResetPassword),
    route::Endpoint {
        access: Access::Roles(CREW),
        body_max: route::PHOTO_SIZE_MAX,
        ..endpoint("E0-6", Method::Post, "/upload", Endpoint::KeepPhoto)
    },
    route::Endpoint {
        access: Access::Anyone,
        ..endpoint("E0-11", Method::Get, "/upload/{photoId}", Endpoint::GivePhoto)
    },
    route::Endpoint {
        access: Access::Roles(LEADS),
        bucket: Bucket::Sync,
        ..endpoint("fleet", Method::Get, "/fleet", Endpoint::Fleet)
    },
    route::Endpoint {
        access: Access::Roles(ADMINS),
        bucket: Bucket::Sync,
        ..endpoint("rejected", Method::Get, "/rejected", Endpoint::Rejected)
    },
    endpoint("E1-2", Method::Head, "/api/health", Endpoint::Health),
    endpoint("EX-2", Method::Get, "/api/health", Endpoint::Health),
];

pub(crate) fn read(
    endpoint: Endpoint,
    part: &str,
    request: &Request,
) -> Result<(Command, Reply), Refusal> {
    match endpoint {
        Endpoint::Login => Ok((Command::Login(login(request)?), Reply::Session)),
        Endpoint::Refresh => Ok((Command::Refresh(refresh(request)?), Reply::Renewed)),
        Endpoint::ChangePassword => {
            Ok((Command::ChangePassword(password_change(request)?), Reply::Renewed))
        }
        Endpoint::MakeResetCode => {
            Ok((Command::MakeResetCode(code_order(request)?), Reply::ResetCode))
        }
        Endpoint::ResetPassword => {
            Ok((Command::ResetPassword(password_reset(request)?), Reply::Session))
        }
        Endpoint::KeepPhoto => Ok((Command::StorePhoto(photo(request)?), Reply::PhotoKept)),
        Endpoint::GivePhoto => {
            let is_hash = part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            let id = is_hash.then(|| part.to_lowercase()).ok_or(Refusal::missing("Photo"))?;
            Ok((Command::LoadPhoto { id }, Reply::Photo))
        }
        Endpoint::Health if request.method == Method::Head => Ok((Command::Health, Reply::Alive)),
        Endpoint::Health => Ok((Command::Health, Reply::Health)),
        Endpoint::Fleet => Ok((Command::Fleet(fleet_query(request)?), Reply::Fleet)),
        Endpoint::Rejected => {
            let after = request.parameter("cursor");
            let is_place = |text: &String| data_encoding::HEXLOWER.decode(text.as_bytes()).is_ok();
            if !after.as_ref().is_none_or(is_place) {
                return Err(Refusal::fault("cursor", "cursor is none of this endpoint"));
            }
            let query = RejectedQuery { after, count_max: page_max(request)? };
            Ok((Command::Rejected(query), Reply::Rejected))
        }
    }
}

fn fleet_query(request: &Request) -> Result<FleetQuery, Refusal> {
    let silent_hours =
        match request.parameter("silentHours") {
            Some(text) => Some(text.parse().map_err(|_| {
                Refusal::fault("silentHours", "silentHours must be a number of hours")
            })?),
            None => None,
        };
    let flag = |name: &str| match request.parameter(name).as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Refusal::fault(name, &format!("{name} must be true or false"))),
    };
    let after = match request.parameter("cursor") {
        Some(cursor) => Some(
            data_encoding::BASE64URL_NOPAD
                .decode(cursor.as_bytes())
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .ok_or_else(|| Refusal::fault("cursor", "cursor is none of this endpoint"))?,
        ),
        None => None,
    };
    let devices_max = page_max(request)?;
    Ok(FleetQuery {
        silent_hours,
        failing: flag("failing")?,
        backlog: flag("backlog")?,
        after,
        devices_max: Some(devices_max),
    })
}

/// How much of a list a request wants at once.
fn page_max(request: &Request) -> Result<usize, Refusal> {
    let Some(text) = request.parameter("limit") else { return Ok(PAGE_DEFAULT) };
    let limit = text.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
    let message = format!("limit must be between 1 and {PAGE_MAX}");
    limit.ok_or_else(|| Refusal::fault("limit", &message))
}

/// The address in a body, as it is kept.
fn email(form: &mut Form<'_>) -> Option<String> {
    form.need_text("email").map(|email| email.trim().to_lowercase())
}

fn login(request: &Request) -> Result<Login, Refusal> {
    let body = object(request)?;
    let mut form = Form::new(&body, "");
    let email = email(&mut form);
    let password = form.need("password", "text", Json::as_str);
    form.finish().map_err(|faults| Refusal::Invalid { faults })?;
    let (Some(email), Some(password)) = (email, password) else { return Err(Refusal::Malformed) };
    Ok(Login { email, password: Secret::new(password) })
}

fn refresh(request: &Request) -> Result<Refresh, Refusal> {
    let body = object(request)?;
    let mut form = Form::new(&body, "");
    let token = form.need_text("refreshToken").map(Secret::new);
    let device = form.text("deviceId").map(str::to_owned);
    form.finish().map_err(|faults| Refusal::Invalid { faults })?;
    let Some(token) = token else { return Err(Refusal::Malformed) };
    Ok(Refresh { token, device })
}

fn password_change(request: &Request) -> Result<PasswordChange, Refusal> {
    let body = object(request)?;
    let mut form = Form::new(&body, "");
    let current = form.need("currentPassword", "text", Json::as_str);
    let new = form.need("newPassword", "text", Json::as_str);
    form.finish().map_err(|faults| Refusal::Invalid { faults })?;
    let (Some(current), Some(new)) = (current, new) else { return Err(Refusal::Malformed) };
    Ok(PasswordChange { current: Secret::new(current), new: Secret::new(new) })
}

fn password_reset(request: &Request) -> Result<PasswordReset, Refusal> {
    let body = object(request)?;
    let mut form = Form::new(&body, "");
    let email = email(&mut form);
    let code = form.need("code", "text", Json::as_str);
    let new = form.need("newPassword", "text", Json::as_str);
    form.finish().map_err(|faults| Refusal::Invalid { faults })?;
    let (Some(email), Some(code), Some(new)) = (email, code, new) else {
        return Err(Refusal::Malformed);
    };
    Ok(PasswordReset { email, code: Secret::new(code), new: Secret::new(new) })
}

fn code_order(request: &Request) -> Result<ResetCodeOrder, Refusal> {
    let body = object(request)?;
    let mut form = Form::new(&body, "");
    let email = email(&mut form);
    let current = form.need("currentPassword", "text", Json::as_str);
    form.finish().map_err(|faults| Refusal::Invalid { faults })?;
    let (Some(email), Some(current)) = (email, current) else { return Err(Refusal::Malformed) };
    Ok(ResetCodeOrder { email, current: Secret::new(current) })
}

fn photo(request: &Request) -> Result<PhotoUpload, Refusal> {
    let kind = request.header("content-type").unwrap_or_default();
    let (kind, bytes) = match kind.split_once("boundary=") {
        Some((start, boundary)) if start.trim_start().starts_with("multipart/form-data") => {
            multipart::file(&request.body, boundary.trim_matches('"')).ok_or_else(|| {
                let message =
                    "Body must have one part called file, and a boundary of 1 to 70 bytes";
                Refusal::fault("file", message)
            })?
        }
        _ => (kind.to_owned(), request.body.clone()),
    };
    let content_type = kind.split(';').next().unwrap_or_default().trim().to_lowercase();
    if !PHOTO_TYPES.contains(&content_type.as_str()) {
        return Err(Refusal::WrongType { wanted: PHOTO_TYPES.join(", ") });
    }
    if bytes.is_empty() {
        return Err(Refusal::fault("file", "Photo is empty"));
    }
    let part = match request.header("content-range") {
        Some(range) => Some(content_range(range, bytes.len())?),
        None => None,
    };
    let sha256 = request.header("x-content-sha256").map(str::to_lowercase);
    Ok(PhotoUpload { content_type, bytes, sha256, part })
}

/// The first byte and the size of the whole in `bytes 0-499/1234`.
fn content_range(text: &str, length: usize) -> Result<(u64, u64), Refusal> {
    let parsed = || {
        let (range, size) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last, size): (u64, u64, u64) =
            (first.parse().ok()?, last.parse().ok()?, size.parse().ok()?);
        let length = u64::try_from(length).ok()?;
        (last < size && last.checked_sub(first)?.checked_add(1)? == length).then_some((first, size))
    };
    let (first, size) = parsed()
        .ok_or_else(|| Refusal::fault("Content-Range", "Content-Range does not fit the body"))?;
    if size > route::PHOTO_SIZE_MAX as u64 {
        return Err(Refusal::TooLarge { bytes_max: route::PHOTO_SIZE_MAX });
    }
    Ok((first, size))
}

impl Reply {
    pub(crate) fn answer(&self, outcome: Outcome) -> Result<Response, Refusal> {
        match (self, outcome) {
            (Self::Session, Outcome::Session(session)) => Ok(opened(&session)),
            (Self::Renewed, Outcome::Session(session)) => Ok(renewed(&session)),
            (Self::ResetCode, Outcome::ResetCode { code, until }) => {
                let body = json!({ "code": code, "expiresAt": until });
                Ok(Response::json(200, &body).with_header("cache-control", "no-store"))
            }
            (Self::Health, Outcome::Healthy { at, version }) => {
                let body = json!({ "status": "ok", "serverTime": at, "version": version });
                Ok(Response::json(200, &body).with_header("cache-control", "no-store"))
            }
            (Self::Alive, Outcome::Healthy { .. }) => {
                Ok(Response::empty(200).with_header("cache-control", "no-store"))
            }
            (Self::PhotoKept, Outcome::PhotoKept { id, size, content_type, known, complete }) => {
                let status = match (complete, known) {
                    (false, _) => 202,
                    (true, true) => 200,
                    (true, false) => 201,
                };
                let url = format!("/upload/{id}");
                let body =
                    json!({ "url": url, "id": id, "size": size, "contentType": content_type });
                Ok(Response::json(status, &body))
            }
            (Self::Photo, Outcome::Photo { content_type, bytes }) => Ok(Response {
                status: 200,
                headers: vec![
                    ("content-type", content_type),
                    ("cache-control", PHOTO_CACHE.to_owned()),
                    ("x-content-type-options", "nosniff".to_owned()),
                ],
                body: bytes,
            }),
            (Self::Fleet, Outcome::Fleet(page)) => {
                let cursor = page.next.as_ref();
                let cursor =
                    cursor.map(|next| data_encoding::BASE64URL_NOPAD.encode(next.as_bytes()));
                let body = json!({
                    "devices": page.devices, "nextCursor": cursor, "hasMore": page.next.is_some(),
                });
                Ok(Response::json(200, &body).with_header("cache-control", "no-store"))
            }
            (Self::Rejected, Outcome::Rejected(page)) => {
                let rejected: Vec<Json> = page.rejected.iter().map(Rejected::to_json).collect();
                let body = json!({
                    "rejected": rejected, "nextCursor": page.next, "hasMore": page.next.is_some(),
                    "dropped": page.dropped,
                });
                Ok(Response::json(200, &body).with_header("cache-control", "no-store"))
            }
            _ => Err(MISFIT),
        }
    }
}

fn opened(session: &Session) -> Response {
    let user = &session.user;
    let body = json!({
        "accessToken": session.access_token,
        "refreshToken": session.refresh_token,
        "expiresIn": session.expires_in,
        "user": {
            "id": user.id, "email": user.email, "name": user.name,
            "role": user.role.as_str().to_uppercase(),
        },
        "tenantId": session.tenant,
    });
    Response::json(200, &body).with_header("cache-control", "no-store")
}

fn renewed(session: &Session) -> Response {
    let body = json!({
        "accessToken": session.access_token,
        "refreshToken": session.refresh_token,
        "expiresIn": session.expires_in,
    });
    Response::json(200, &body).with_header("cache-control", "no-store")
}
