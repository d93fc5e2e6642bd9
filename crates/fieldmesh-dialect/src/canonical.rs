//! JSON in the one form that is hashed, RFC 8785, so that whoever reads an answer can tell whether
//! it is what was sent.

use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};

/// The SHA-256, in hex, of an object in its canonical form.
pub(crate) fn checksum(object: &Map<String, Json>) -> String {
    let mut text = String::new();
    write_object(object, &mut text);
    data_encoding::HEXLOWER.encode(&Sha256::digest(text))
}

fn write(json: &Json, text: &mut String) {
    match json {
        Json::Null | Json::Bool(_) | Json::String(_) => text.push_str(&json.to_string()),
        // All numbers are those of ECMAScript, whole ones as well.
        Json::Number(number) => {
            text.push_str(ryu_js::Buffer::new().format(number.as_f64().unwrap_or_default()));
        }
        Json::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                write(item, text);
            }
            text.push(']');
        }
        Json::Object(members) => write_object(members, text),
    }
}

fn write_object(members: &Map<String, Json>, text: &mut String) {
    let mut sorted: Vec<(&String, &Json)> = members.iter().collect();
    sorted.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
    text.push('{');
    for (index, (name, value)) in sorted.into_iter().enumerate() {
        text.push_str(if index == 0 { "" } else { "," });
        text.push_str(&Json::from(name.as_str()).to_string());
        text.push(':');
        write(value, text);
    }
    text.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        let mut canonical = String::new();
        write(&serde_json::from_str(text).unwrap(), &mut canonical);
        canonical
    }

    #[test]
    fn the_examples_of_the_rfc_come_out_as_it_says() {
        // The first number of the RFC has a digit more, which the parser of JSON rounds otherwise.
        let written = canonical(
            r#"{
                "numbers": [333333333.3333333, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
                "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
                "literals": [null, true, false]
            }"#,
        );
        let wanted = "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,\
             1e-27],\"string\":\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
        assert_eq!(written, wanted);
        // By UTF-16, so what lies beyond the first plane comes before what ends it.
        let keys = r#"{"\u20ac":1,"\r":1,"\ufb33":1,"1":1,"\ud83d\ude00":1,"\u0080":1,"\u00f6":1}"#;
        let wanted = "{\"\\r\":1,\"1\":1,\"\u{80}\":1,\"\u{f6}\":1,\"\u{20ac}\":1,\"\u{1f600}\":1,\
             \"\u{fb33}\":1}";
        assert_eq!(canonical(keys), wanted);
        assert_eq!(
            canonical("[1.0, -0.0, 9007199254740993, 1e21]"),
            "[1,0,9007199254740992,1e+21]"
        );
    }

    #[test]
    fn the_checksum_is_that_of_any_other_program() {
        let Json::Object(object) = serde_json::json!({ "title": "Oil", "n": 1 }) else { panic!() };
        // printf '{"n":1,"title":"Oil"}' | sha256sum
        assert_eq!(
            checksum(&object),
            "073aeaec53f5ddbd82c430565a5e48d74ae3a6f095235ae259cfaaaac996a985"
        );
    }
}
