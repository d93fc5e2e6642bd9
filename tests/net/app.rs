//! An app of the field that speaks HTTP to a relay.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value as Json, json};

use crate::relay::RunningRelay;

/// The password of the person who uses it.
pub(crate) const PASSWORD: &str = "correct horse battery";
/// The person's address.
pub(crate) const EMAIL: &str = "ana@example.org";

/// An app with the token of a person.
pub(crate) struct App {
    pub(crate) address: String,
    pub(crate) token: String,
}

impl App {
    /// Logs in.
    #[track_caller]
    pub(crate) fn of(relay: &RunningRelay) -> Self {
        let mut app = Self { address: relay.http(), token: String::new() };
        let login = json!({ "email": EMAIL, "password": PASSWORD });
        let session = app.ok("POST", "/auth/login", &login);
        session["accessToken"].as_str().unwrap().clone_into(&mut app.token);
        app
    }

    /// The status and the body of an answer.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Json) -> (u16, Json) {
        self.try_ask(method, path, body).unwrap()
    }

    /// The status and the body of an answer, if one comes.
    pub(crate) fn try_ask(&self, method: &str, path: &str, body: &Json) -> io::Result<(u16, Json)> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "Accept: application/json\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n",
            body.len()
        );
        let (status, answer) = self.exchange(method, path, &head, body.as_bytes())?;
        Ok((status, serde_json::from_slice(&answer).unwrap_or(Json::Null)))
    }

    /// Keeps a photo; gives its path.
    #[track_caller]
    pub(crate) fn upload(&self, photo: &[u8]) -> String {
        let head = format!("Content-Type: image/jpeg\r\nContent-Length: {}\r\n", photo.len());
        let (status, body) = self.exchange("POST", "/upload", &head, photo).unwrap();
        assert_eq!(status / 100, 2, "{}", String::from_utf8_lossy(&body));
        let answer: Json = serde_json::from_slice(&body).unwrap();
        answer["url"].as_str().unwrap().to_owned()
    }

    /// The bytes behind a path, and the status.
    pub(crate) fn download(&self, path: &str) -> (u16, Vec<u8>) {
        self.exchange("GET", path, "", &[]).unwrap()
    }

    /// The status and the bytes of an answer; `head` is what else stands in that of the request.
    pub(crate) fn exchange(
        &self,
        method: &str,
        path: &str,
        head: &str,
        body: &[u8],
    ) -> io::Result<(u16, Vec<u8>)> {
        let mut stream = TcpStream::connect(&self.address)?;
        let Self { address, token } = self;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Connection: close\r\n{head}\r\n"
        )?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        let body = answer.split_off(end + 4);
        // An answer that broke off is none.
        if length.is_some_and(|length: usize| length != body.len()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.ok_or(io::ErrorKind::InvalidData)?, body))
    }

    #[track_caller]
    pub(crate) fn ok(&self, method: &str, path: &str, body: &Json) -> Json {
        let (status, answer) = self.ask(method, path, body);
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// The entries that it may see.
    pub(crate) fn entries(&self) -> Vec<Json> {
        let pulled = self.ok("GET", "/sync/pull?include=entries", &Json::Null);
        pulled["entries"].as_array().unwrap().clone()
    }
}
