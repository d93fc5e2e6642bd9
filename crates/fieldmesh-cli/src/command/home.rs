//! The commands that look at the home and at other devices.

use fieldmesh::api::{Class, ConnectivityReport, DeviceReport, Problem, StatusReport};
use serde::Serialize;

use super::Context;
use crate::args::{DeviceCommand, DevicesArgs};
use crate::exit::Failure;
use crate::problem;
use crate::render;

/// What `status` shows.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    status: StatusReport,
    connectivity: ConnectivityReport,
}

/// `status`
pub(super) async fn status(context: &Context<'_>) -> Result<(), Failure> {
    context
        .with_home(async |home| {
            let shown =
                Shown { status: home.status().await?, connectivity: home.connectivity().await? };
            context.terminal.value(&shown, |shown, style| {
                let home = render::status(&shown.status, style);
                format!("{home}{}", render::connectivity(&shown.connectivity, style))
            })
        })
        .await
}

/// `peers`
pub(super) async fn peers(context: &Context<'_>) -> Result<(), Failure> {
    context
        .with_home(async |home| {
            let peers = home.peers().await?;
            if peers.is_empty() {
                context.terminal.say("No other device is known so far.");
            }
            context.terminal.list(&peers, render::peers)
        })
        .await
}

/// `devices`
pub(super) async fn devices(context: &Context<'_>, args: &DevicesArgs) -> Result<(), Failure> {
    context
        .with_home(async |home| {
            let devices = home.devices().await?;
            match &args.command {
                None => context.terminal.list(&devices, render::devices),
                Some(DeviceCommand::Show { device }) => {
                    context.terminal.value(named(&devices, device)?, render::device)
                }
            }
        })
        .await
}

/// The device with this name, id or end of an id.
fn named<'a>(devices: &'a [DeviceReport], name: &str) -> Result<&'a DeviceReport, Problem> {
    let wanted = name.trim();
    let exact = |device: &&DeviceReport| device.name == wanted;
    let ending = |device: &&DeviceReport| {
        !wanted.is_empty() && device.device.to_string().ends_with(&wanted.to_ascii_lowercase())
    };
    let mut found: Vec<&DeviceReport> = devices.iter().filter(exact).collect();
    if found.is_empty() {
        found = devices.iter().filter(ending).collect();
    }
    match found.as_slice() {
        [device] => Ok(*device),
        [] => Err(problem::not_found(format!("there is no device {wanted:?}"))),
        several => {
            let ids: Vec<String> = several.iter().map(|device| device.device.short()).collect();
            let ids = ids.join(", ");
            Err(problem::invalid(format!("{wanted:?} names several devices: {ids}; give an id")))
        }
    }
}

/// `verify`
pub(super) async fn verify(context: &Context<'_>) -> Result<(), Failure> {
    context
        .with_home(async |home| {
            let report = home.verify().await?;
            context.terminal.value(&report, render::verify)?;
            if report.clean { Ok(()) } else { Err(Failure::Reported(Class::Store)) }
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::samples;

    #[test]
    fn a_device_is_found_by_name_or_end_of_id_and_never_guessed() {
        let devices = samples::devices();
        assert_eq!(named(&devices, "truck-7").unwrap(), &devices[1]);
        let id = devices[0].device.to_string();
        assert_eq!(named(&devices, &id[56..]).unwrap(), &devices[0]);
        for (wanted, class) in [("", Class::NotFound), ("nobody", Class::NotFound)] {
            assert_eq!(named(&devices, wanted).unwrap_err().class, class, "{wanted}");
        }
        let twins = [devices[0].clone(), devices[0].clone()];
        assert_eq!(named(&twins, "office").unwrap_err().class, Class::Invalid);
    }
}
