//! What is packed for an operating system is there.

use serde_json::Value;

use crate::workspace::{crates, no_faults};

/// The folder below which a release build puts programs.
const BUILT: &str = "target/";

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn every_file_that_a_debian_package_needs_is_there() {
    let mut faults = Vec::new();
    let mut packages = 0;
    for (name, package) in crates() {
        let deb = &package.metadata["deb"];
        let Some(assets) = deb["assets"].as_array() else { continue };
        packages += 1;
        let assets: Vec<Vec<&str>> = assets.iter().map(texts).collect();
        let mut needed: Vec<String> = texts(&deb["license-file"])
            .into_iter()
            .take(1)
            .chain(deb["maintainer-scripts"].as_str())
            .chain(assets.iter().filter_map(|asset| asset.first().copied()))
            .filter(|path| !path.starts_with(BUILT))
            .map(str::to_owned)
            .collect();
        if let Some(folder) = deb["systemd-units"]["unit-scripts"].as_str() {
            needed.push(format!("{folder}/{name}.service"));
        }
        let gone = needed.iter().filter(|path| !package.folder.join(path).exists());
        faults.extend(gone.map(|path| format!("{name} packs {path}, which is not there")));
        for file in texts(&deb["conf-files"]) {
            let is_packed = assets.iter().any(|asset| asset.get(1) == Some(&&file[1..]));
            if !is_packed {
                faults.push(format!("{name} calls {file} a setting, and does not pack it"));
            }
        }
    }
    assert!(packages > 0, "no crate says how it is packed");
    no_faults(&faults, "Correct [package.metadata.deb] in the manifest of the crate.");
}
