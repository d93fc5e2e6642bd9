//! The document of the relay's endpoints as a page for people: no script, nothing from elsewhere.

use std::fmt::Write as _;

use data_encoding::BASE64;
use ring::digest;
use serde_json::Value as Json;

/// The style of the page, the only one that its policy lets through.
const STYLE: &str = "\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
color:#1c1c1c;background:#fff}\
h1{font-size:1.6rem}h2{margin-top:2.5rem;border-bottom:1px solid #ccc}\
code,pre{font:14px/1.45 ui-monospace,monospace}\
pre{background:#f4f4f4;padding:.6rem;overflow:auto;margin:.4rem 0}\
details{border:1px solid #ddd;border-radius:4px;margin:.4rem 0;padding:.4rem .7rem}\
summary{cursor:pointer}summary b{display:inline-block;min-width:4.5rem}\
th,td{text-align:left;vertical-align:top;padding:.1rem 1rem .1rem 0}\
@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#171717}\
pre{background:#242424}details{border-color:#444}a{color:#8ab4f8}}";

/// What the page may load: its own style.
pub(crate) fn policy() -> String {
    let hash = BASE64.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()).as_ref());
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}

/// The page of `document`.
pub(crate) fn page(document: &Json) -> String {
    let info = &document["info"];
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\n\
         <style>{STYLE}</style></head>\n<body><h1>{title}</h1>\n<p>{about}</p>\n\
         <p>For programs: <a href=\"openapi.json\">openapi.json</a></p>\n",
        title = text(&info["title"]),
        about = text(&info["description"]),
    );
    for tag in document["tags"].as_array().into_iter().flatten() {
        let (name, about) = (text(&tag["name"]), text(&tag["description"]));
        put(&mut page, format_args!("<h2>{name}</h2>\n<p>{about}.</p>\n"));
        for (path, item) in members(&document["paths"]) {
            for (method, operation) in members(item) {
                if operation["tags"][0] == tag["name"] {
                    put_operation(&mut page, method, path, operation);
                }
            }
        }
    }
    page.push_str("<h2>What passes</h2>\n");
    for (name, schema) in members(&document["components"]["schemas"]) {
        let (name, shape) = (escaped(name), shape(schema, 0));
        put(
            &mut page,
            format_args!(
                "<details id=\"{name}\"><summary><code>{name}</code></summary>\
                 <pre>{shape}</pre></details>\n"
            ),
        );
    }
    page.push_str("<h2>Refusals</h2>\n");
    for (name, refused) in members(&document["components"]["responses"]) {
        put(&mut page, format_args!("<h3 id=\"{}\">{0}</h3>\n", escaped(name)));
        put_content(&mut page, &text(&refused["description"]), &refused["content"]);
    }
    page.push_str("</body></html>\n");
    page
}

fn put_operation(page: &mut String, method: &str, path: &str, operation: &Json) {
    let (method, path) = (escaped(&method.to_uppercase()), escaped(path));
    let (id, summary) = (text(&operation["operationId"]), text(&operation["summary"]));
    put(
        page,
        format_args!(
            "<details id=\"{id}\"><summary><b>{method}</b> <code>{path}</code> {summary}</summary>\n\
             <p>{about}</p>\n",
            about = text(&operation["description"]),
        ),
    );
    let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
    if !parameters.is_empty() {
        page.push_str("<table>\n");
    }
    for parameter in parameters {
        let need = if parameter["required"] == true { "" } else { "?" };
        put(
            page,
            format_args!(
                "<tr><th><code>{}{need}</code></th><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                text(&parameter["name"]),
                text(&parameter["in"]),
                shape(&parameter["schema"], 0),
                text(&parameter["description"]),
            ),
        );
    }
    if !parameters.is_empty() {
        page.push_str("</table>\n");
    }
    put_content(page, "Body", &operation["requestBody"]["content"]);
    let mut refused = Vec::new();
    for (status, answer) in members(&operation["responses"]) {
        if let Some(reference) = answer["$ref"].as_str() {
            let name = escaped(reference.rsplit('/').next().unwrap_or_default());
            refused.push(format!("<a href=\"#{name}\">{}</a>", escaped(status)));
            continue;
        }
        let title = format!("{} {}", escaped(status), text(&answer["description"]));
        put_content(page, &title, &answer["content"]);
        if answer["content"].is_null() {
            put(page, format_args!("<p>{title}</p>\n"));
        }
    }
    if !refused.is_empty() {
        put(page, format_args!("<p>Refused: {}</p>\n", refused.join(", ")));
    }
    page.push_str("</details>\n");
}

fn put_content(page: &mut String, title: &str, content: &Json) {
    for (media, content) in members(content) {
        let (media, shape) = (escaped(media), shape(&content["schema"], 0));
        put(page, format_args!("<p>{title}, <code>{media}</code>: <code>{shape}</code></p>\n"));
    }
}

/// A schema in short, as HTML; names lead to where they are described.
fn shape(schema: &Json, depth: usize) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = escaped(reference.rsplit('/').next().unwrap_or_default());
        return format!("<a href=\"#{name}\">{name}</a>");
    }
    let joined = |several: &[Json]| {
        several.iter().map(|one| shape(one, depth)).collect::<Vec<_>>().join(" | ")
    };
    if let Some(several) = schema["oneOf"].as_array() {
        return joined(several);
    }
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().map(|word| escaped(&word.to_string())).collect::<Vec<_>>().join(" | ");
    }
    let types: Vec<&str> = match &schema["type"] {
        Json::String(name) => vec![name],
        Json::Array(names) => names.iter().filter_map(Json::as_str).collect(),
        _ => vec!["anything"],
    };
    let mut shown: Vec<String> = Vec::new();
    for name in types {
        shown.push(match name {
            "array" => format!("list of ({})", shape(&schema["items"], depth)),
            "object" => object(schema, depth),
            other => {
                schema["format"].as_str().filter(|_| other == "string").unwrap_or(other).into()
            }
        });
    }
    shown.join(" | ")
}

fn object(schema: &Json, depth: usize) -> String {
    let needed = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
    let pad = "  ".repeat(depth + 1);
    let mut shown = String::new();
    for (name, member) in members(&schema["properties"]) {
        let need = if needed.iter().any(|it| it == name) { "" } else { "?" };
        let shape = shape(member, depth + 1);
        put(&mut shown, format_args!("\n{pad}{}{need}: {shape}", escaped(name)));
    }
    match (shown.is_empty(), schema["additionalProperties"] == true) {
        (true, _) => "object".to_owned(),
        (false, is_open) => {
            let more = if is_open { format!("\n{pad}…") } else { String::new() };
            format!("{{{shown}{more}\n{}}}", "  ".repeat(depth))
        }
    }
}

fn members(json: &Json) -> impl Iterator<Item = (&String, &Json)> {
    json.as_object().into_iter().flatten()
}

fn text(json: &Json) -> String {
    escaped(json.as_str().unwrap_or_default())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn put(page: &mut String, arguments: std::fmt::Arguments<'_>) {
    page.write_fmt(arguments).expect("invariant: writing to a string never fails");
}

#[cfg(test)]
mod tests {
    use fieldmesh_dialect::openapi;

    use super::*;

    #[test]
    fn the_page_lists_every_operation_and_loads_nothing() {
        let document = openapi::document("fieldmesh <relay>", "1", &[]);
        let page = page(&document);
        for endpoint in fieldmesh_dialect::endpoints() {
            let path = format!("<code>{}</code>", endpoint.path);
            assert!(page.contains(&path), "{}", endpoint.path);
        }
        assert!(page.contains("fieldmesh &lt;relay&gt;"));
        for forbidden in ["<script", "src=", "http://", "https://", "@import", "url(", "style=\""] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        let links = page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next());
        for link in links {
            assert!(page.contains(&format!("id=\"{link}\"")), "{link} leads nowhere");
        }
    }
}
