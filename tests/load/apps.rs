//! An app of a tenant's person: what it sends in each dialect, and what it is shown.

use std::sync::RwLock;

use serde_json::{Value as Json, json};

use crate::app::{App, EMAIL, PASSWORD};
use crate::crew::COLLECTIONS;
use crate::marks::{Mark, Seen};

/// What a photo is made of.
const PHOTO_SIZE: usize = 20_000;

/// The dialects in which an app pushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Wellpulse,
    Batch,
    Asset,
    Vet,
    Health,
}

impl Dialect {
    pub(crate) const ALL: [Self; 5] =
        [Self::Wellpulse, Self::Batch, Self::Asset, Self::Vet, Self::Health];

    /// What a push is called in the table.
    pub(crate) const fn push(self) -> &'static str {
        match self {
            Self::Wellpulse => "HTTP push, wellpulse",
            Self::Batch => "HTTP push, batch",
            Self::Asset => "HTTP push, asset",
            Self::Vet => "HTTP push, vet",
            Self::Health => "HTTP push, health",
        }
    }
}

/// An app with a session.
pub(crate) struct Tablet {
    address: String,
    slug: String,
    session: RwLock<Session>,
}

#[derive(Debug, Clone, Default)]
struct Session {
    token: String,
    user: String,
}

impl Tablet {
    pub(crate) fn new(address: String, slug: String) -> Self {
        Self { address, slug, session: RwLock::default() }
    }

    /// Opens a session, which takes the place of the one before.
    pub(crate) fn log_in(&self) -> Result<(), String> {
        let body = json!({ "email": EMAIL, "password": PASSWORD, "tenantId": self.slug });
        let body = body.to_string();
        let head = format!(
            "X-Tenant-Subdomain: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
            self.slug,
            body.len()
        );
        let app = App { address: self.address.clone(), token: String::new() };
        let answer = app.exchange("POST", "/auth/login", &head, body.as_bytes());
        let (status, answer) = answer.map_err(|error| error.to_string())?;
        let answer: Json = serde_json::from_slice(&answer).unwrap_or_default();
        let token = answer["accessToken"].as_str().filter(|_| status == 200);
        let token = token.ok_or_else(|| format!("{status}: {answer}"))?.to_owned();
        let user = answer["user"]["id"].as_str().unwrap_or_default().to_owned();
        *self.session.write().unwrap() = Session { token, user };
        Ok(())
    }

    /// What the tenant is called.
    pub(crate) fn slug(&self) -> &str {
        &self.slug
    }

    pub(crate) fn token(&self) -> String {
        self.session.read().unwrap().token.clone()
    }

    fn app(&self) -> App {
        App { address: self.address.clone(), token: self.token() }
    }

    fn ask(&self, method: &str, path: &str, body: &Json) -> Result<Json, String> {
        match self.app().try_ask(method, path, body) {
            Ok((200 | 201, answer)) => Ok(answer),
            Ok((status, answer)) => Err(format!("{method} {path} is answered {status}: {answer}")),
            Err(error) => Err(format!("{method} {path} is not answered: {error}")),
        }
    }

    /// Pushes a record; the answer says that the relay has it.
    pub(crate) fn push(&self, dialect: Dialect, mark: Mark, well: &str) -> Result<(), String> {
        let (text, at) = (mark.text(), mark.at());
        let user = self.session.read().unwrap().user.clone();
        let device = "tablet-1";
        let (is_there, answer) = match dialect {
            Dialect::Wellpulse => {
                let entry = json!({ "wellId": well, "entryType": "PRODUCTION", "recordedAt": at,
                    "data": { "oilVolume": mark.number }, "notes": text });
                let push = json!({ "deviceId": device, "entries": [entry] });
                let answer = self.ask("POST", "/sync/push", &push)?;
                (answer["results"][0]["entryId"].is_string(), answer)
            }
            Dialect::Batch => {
                let payload = json!({ "wellId": well, "text": format!("of {at}: {text}") });
                let event = json!({ "id": format!("event-{}", mark.number), "type": "NOTES_ADDED",
                    "timestamp": at, "deviceId": device, "userId": user, "payload": payload });
                let push = json!({ "tenantId": self.slug, "events": [event],
                    "deviceInfo": { "deviceId": device } });
                let answer = self.ask("POST", "/field-data/sync", &push)?;
                (answer["syncedEventIds"][0].is_string(), answer)
            }
            Dialect::Asset => {
                let change = json!({ "entityType": "task", "operation": "CREATE",
                    "entityId": format!("task-{}", mark.number), "payload": { "title": text },
                    "clientVersion": 1, "timestamp": at });
                // What others did is not asked for: the token is of no place.
                let push = json!({ "deviceId": device, "changes": [change] });
                let answer = self.ask("POST", "/api/sync", &push)?;
                (answer["results"][0]["status"] == "COMPLETED", answer["results"].clone())
            }
            Dialect::Vet => {
                let operation = json!({ "id": mark.number, "operation": "create",
                    "entityType": "pets", "entityId": format!("temp_{}", mark.number),
                    "data": { "name": text, "ownerId": 77 } });
                let push = json!({ "operations": [operation], "clientTimestamp": 1 });
                let answer = self.ask("POST", "/api/sync/push", &push)?;
                (answer["results"][0]["success"] == true, answer)
            }
            Dialect::Health => {
                let operation = json!({ "userId": user, "deviceId": device, "operation": "CREATE",
                    "resourceType": "encounter", "version": 1, "createdAtClient": at,
                    "data": { "patientId": "p", "diagnosis": text } });
                let queued = self.ask("POST", "/api/v1/sync/queue", &operation)?;
                let id = queued["id"].as_str().unwrap_or_default();
                let path = format!("/api/v1/sync/process/{id}");
                let answer = self.ask("POST", &path, &Json::Null)?;
                (answer["status"] == "SYNCED", answer)
            }
        };
        if is_there { Ok(()) } else { Err(format!("{text} is answered {answer}")) }
    }

    /// Everything that the tenant has of what is pushed or recorded here, page by page.
    pub(crate) fn pull(&self) -> Result<Seen, String> {
        let (mut seen, mut page) = (Seen::default(), Json::Null);
        loop {
            let body = json!({ "deviceId": "tablet-1", "entityTypes": COLLECTIONS,
                "pageToken": page });
            let answer = self.ask("POST", "/api/sync/delta", &body)?;
            let changes = answer["changes"].as_array().ok_or_else(|| format!("{answer}"))?;
            changes.iter().for_each(|change| seen.add(&change.to_string()));
            if answer["hasMore"] != true {
                return Ok(seen);
            }
            page = answer["nextPageToken"].clone();
        }
    }

    /// The field entries that the first dialect shows.
    pub(crate) fn entries(&self) -> Result<Seen, String> {
        let mut seen = Seen::default();
        seen.add(&self.ask("GET", "/sync/pull?include=entries", &Json::Null)?.to_string());
        Ok(seen)
    }

    /// Keeps a photo and has it back.
    pub(crate) fn photo(&self, number: u64) -> Result<(), String> {
        let photo: Vec<u8> = number.to_le_bytes().repeat(PHOTO_SIZE / 8);
        let app = self.app();
        let head = format!("Content-Type: image/jpeg\r\nContent-Length: {}\r\n", photo.len());
        let sent = app.exchange("POST", "/upload", &head, &photo);
        let (status, answer) = sent.map_err(|error| error.to_string())?;
        let answer: Json = serde_json::from_slice(&answer).unwrap_or_default();
        let path = answer["url"].as_str().ok_or_else(|| format!("{status}: {answer}"))?;
        match app.exchange("GET", path, "", &[]) {
            Ok((200, back)) if back == photo => Ok(()),
            Ok((status, back)) => Err(format!("{path}: {status}, {} bytes", back.len())),
            Err(error) => Err(error.to_string()),
        }
    }
}
