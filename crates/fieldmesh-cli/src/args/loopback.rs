//! Arguments about HTTP for the apps on this device.

use std::net::SocketAddr;

use clap::Args;

/// `run --http …`
#[derive(Debug, Args)]
pub(crate) struct LoopbackArgs {
    /// Where apps on this device ask over HTTP, an address of loopback, or `off` [default:
    /// 127.0.0.1:7878, or any free port where that is taken].
    #[arg(long, value_name = "ADDR|off", value_parser = http)]
    pub(crate) http: Option<Http>,
    /// The origin of a page in a browser that may ask, like http://localhost:5173; may be repeated.
    /// Pages of no other origin may.
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    pub(crate) http_origin: Vec<String>,
    /// Speak the HTTP contracts of the five existing systems there too, so that their apps work on
    /// this device; they log in with `apps_token` of loopback.json as their password.
    #[arg(long)]
    pub(crate) http_apps: bool,
}

/// Where apps ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Http {
    /// Nowhere.
    Off,
    /// Here.
    At(SocketAddr),
}

fn http(text: &str) -> Result<Http, String> {
    if text == "off" {
        return Ok(Http::Off);
    }
    let address: SocketAddr =
        text.parse().map_err(|_| "write an address like 127.0.0.1:7878, or off")?;
    if !address.ip().is_loopback() {
        return Err("others could reach that; write an address of loopback, 127.0.0.1:7878".into());
    }
    Ok(Http::At(address))
}

fn origin(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let is_plain = |host: &str| {
        let parts = |letter: char| letter.is_ascii_alphanumeric() || ".-:[]".contains(letter);
        !host.is_empty() && host.chars().all(parts)
    };
    if host.is_some_and(is_plain) && !text.chars().any(|letter| letter.is_ascii_uppercase()) {
        return Ok(text.into());
    }
    Err("write it as a browser does, http://localhost:5173: small letters, nothing behind the port"
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_device_and_plain_origins_are_understood() {
        assert_eq!(http("off"), Ok(Http::Off));
        assert_eq!(http("[::1]:0"), Ok(Http::At("[::1]:0".parse().unwrap())));
        for text in ["0.0.0.0:7878", "192.168.1.7:7878", "7878", "on", "localhost:1", ""] {
            assert!(http(text).is_err(), "{text}");
        }
        assert!(origin("http://localhost:5173").is_ok() && origin("https://a.example").is_ok());
        for text in ["*", "null", "localhost:5173", "http://a.example/", "http://", "HTTP://a"] {
            assert!(origin(text).is_err(), "{text}");
        }
    }
}
