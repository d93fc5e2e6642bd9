//! Reads the members of a JSON object and collects what is wrong with them.

use fieldmesh_model::{Fault, Moment};
use serde_json::{Map, Value as Json};

use crate::command::Resolution;
use crate::name::NAME_SIZE_MAX;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::weight::{WEIGHT_MAX, weight};

/// The most elements of a list, where the contract states no fewer. A list of as many that are what
/// they should be is larger than a body may be.
const ELEMENTS_MAX: usize = 200_000;

/// A JSON object of a request; absent and null members are the same.
pub(crate) struct Form<'a> {
    members: &'a Map<String, Json>,
    path: String,
    faults: Vec<Fault>,
}

/// The JSON object in the body of `request`.
///
/// A missing content type is taken for JSON, because a documented client leaves it out.
pub(crate) fn object(request: &Request) -> Result<Map<String, Json>, Refusal> {
    match json(request)? {
        Json::Object(object) => Ok(object),
        _ => Err(Refusal::fault("", "Body must be a JSON object")),
    }
}

/// As [`object`], where no body stands for an empty object.
pub(crate) fn object_or_nothing(request: &Request) -> Result<Map<String, Json>, Refusal> {
    if request.body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    object(request)
}

fn json(request: &Request) -> Result<Json, Refusal> {
    let kind = request.header("content-type").unwrap_or("application/json");
    let essence = kind.split(';').next().unwrap_or_default().trim().to_lowercase();
    if essence != "application/json" && !essence.ends_with("+json") {
        return Err(Refusal::WrongType { wanted: "application/json".to_owned() });
    }
    if weight(&request.body) > WEIGHT_MAX {
        return Err(Refusal::TooHeavy);
    }
    serde_json::from_slice(&request.body).map_err(|_| Refusal::Malformed)
}

impl<'a> Form<'a> {
    /// Reads `members`; faults name fields below `path`.
    pub(crate) fn new(members: &'a Map<String, Json>, path: &str) -> Self {
        Self { members, path: path.to_owned(), faults: Vec::new() }
    }

    /// What is wrong, if anything is.
    pub(crate) fn finish(self) -> Result<(), Vec<Fault>> {
        if self.faults.is_empty() { Ok(()) } else { Err(self.faults) }
    }

    /// Adds a fault of the member `key`.
    pub(crate) fn fault(&mut self, key: &str, message: impl Into<String>) {
        let field = self.below(key);
        self.faults.push(Fault::new(field, message));
    }

    /// The whole name of the member `key`.
    pub(crate) fn below(&self, key: &str) -> String {
        match (self.path.is_empty(), key.is_empty()) {
            (true, _) => key.to_owned(),
            (false, true) => self.path.clone(),
            (false, false) => format!("{}.{key}", self.path),
        }
    }

    /// The member `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Json> {
        self.members.get(key).filter(|json| !json.is_null())
    }

    /// The member `key` of a kind that `read` understands.
    pub(crate) fn read<T>(
        &mut self,
        key: &str,
        kind: &str,
        read: impl Fn(&'a Json) -> Option<T>,
    ) -> Option<T> {
        let value = read(self.get(key)?);
        if value.is_none() {
            self.fault(key, format!("{key} must be {kind}"));
        }
        value
    }

    /// As [`Form::read`], where the member must be there.
    pub(crate) fn need<T>(
        &mut self,
        key: &str,
        kind: &str,
        read: impl Fn(&'a Json) -> Option<T>,
    ) -> Option<T> {
        if self.get(key).is_none() {
            self.fault(key, format!("{key} is required"));
            return None;
        }
        self.read(key, kind, read)
    }

    /// A text.
    pub(crate) fn text(&mut self, key: &str) -> Option<&'a str> {
        self.read(key, TEXT, Json::as_str)
    }

    /// A text with something in it that must be there.
    pub(crate) fn need_text(&mut self, key: &str) -> Option<&'a str> {
        let text = self.need(key, TEXT, Json::as_str)?;
        if text.trim().is_empty() {
            self.fault(key, format!("{key} is required"));
            return None;
        }
        Some(text)
    }

    /// A text that names a device, a user or a type, and must be there.
    pub(crate) fn need_name(&mut self, key: &str) -> Option<&'a str> {
        let text = self.need_text(key)?;
        if text.len() > NAME_SIZE_MAX || text.chars().any(char::is_control) {
            let message = format!("{key} must be a name of at most {NAME_SIZE_MAX} bytes");
            self.fault(key, message);
            return None;
        }
        Some(text)
    }

    /// A time in RFC 3339.
    pub(crate) fn moment(&mut self, key: &str) -> Option<Moment> {
        self.read(key, TIME, moment)
    }

    /// A time in RFC 3339 that must be there.
    pub(crate) fn need_moment(&mut self, key: &str) -> Option<Moment> {
        self.need(key, TIME, moment)
    }

    /// A list that must be there.
    pub(crate) fn need_list(&mut self, key: &str) -> Option<&'a Vec<Json>> {
        let list = self.need(key, "a list", Json::as_array)?;
        self.bounded(key, list.len()).then_some(list)
    }

    /// A list of texts.
    pub(crate) fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let texts = self.read(key, "a list of texts", texts)?;
        self.bounded(key, texts.len()).then_some(texts)
    }

    /// Whether a list has no more elements than one may have.
    fn bounded(&mut self, key: &str, count: usize) -> bool {
        let is_bounded = count <= ELEMENTS_MAX;
        if !is_bounded {
            self.fault(key, format!("{key} can have at most {ELEMENTS_MAX} elements"));
        }
        is_bounded
    }

    /// An object.
    pub(crate) fn object(&mut self, key: &str) -> Option<&'a Map<String, Json>> {
        self.read(key, "an object", Json::as_object)
    }

    /// An object that must be there.
    pub(crate) fn need_object(&mut self, key: &str) -> Option<&'a Map<String, Json>> {
        self.need(key, "an object", Json::as_object)
    }

    /// One of the `allowed` resolutions.
    pub(crate) fn resolution(&mut self, key: &str, allowed: &[Resolution]) -> Option<Resolution> {
        let kind = resolutions(allowed);
        self.read(key, &kind, |json| resolution(json.as_str()?, allowed))
    }

    /// One of `words` that must be there.
    pub(crate) fn need_word<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let kind = choice(words);
        self.need(key, &kind, |json| chosen(json.as_str()?, words))
    }
}

/// The one of `allowed` that a client means, in the words of any dialect.
pub(crate) fn resolution(text: &str, allowed: &[Resolution]) -> Option<Resolution> {
    chosen(text, &Resolution::WORDS).filter(|resolution| allowed.contains(resolution))
}

/// "A, B or C" of resolutions.
pub(crate) fn resolutions(allowed: &[Resolution]) -> String {
    choice(&allowed.iter().map(|resolution| (resolution.as_str(), ())).collect::<Vec<_>>())
}

const TEXT: &str = "text";
const TIME: &str = "a time like 2026-03-01T08:30:00Z";

/// The time in a JSON text.
pub(crate) fn moment(json: &Json) -> Option<Moment> {
    json.as_str()?.parse().ok()
}

/// The list of texts in a JSON value.
pub(crate) fn texts(json: &Json) -> Option<Vec<String>> {
    json.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

/// The whole number in a JSON value, also one that is written as `30.0`.
pub(crate) fn whole(json: &Json) -> Option<i64> {
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    json.as_i64().or_else(|| {
        let float = json.as_f64().filter(|float| float.abs() <= WHOLE_MAX)?;
        (float.fract() == 0.0).then_some(float as i64)
    })
}

/// The one of `words` that `text` is, in whatever case.
pub(crate) fn chosen<T: Copy>(text: &str, words: &[(&str, T)]) -> Option<T> {
    let is_it = |(word, _): &&(&str, T)| word.eq_ignore_ascii_case(text.trim());
    words.iter().find(is_it).map(|(_, value)| *value)
}

/// "A, B or C", without spellings that mean a word already named.
pub(crate) fn choice<T>(words: &[(&str, T)]) -> String {
    match words {
        [rest @ .., (last, _)] if !rest.is_empty() => {
            let rest: Vec<&str> = rest.iter().map(|(word, _)| *word).collect();
            format!("{} or {last}", rest.join(", "))
        }
        words => words.iter().map(|(word, _)| *word).collect(),
    }
}
