//! `devices`: who belongs to the tenant, and who does no longer.

use std::io::{BufRead as _, Write as _};

use fieldmesh::api::{DeviceReport, Problem, RevokeOptions};

use super::Context;
use crate::args::{AdoptArgs, DeviceCommand, DevicesArgs, RevokeArgs};
use crate::backend::Backend;
use crate::exit::Failure;
use crate::problem;
use crate::render;

/// `devices`
pub(super) async fn devices(context: &Context<'_>, args: &DevicesArgs) -> Result<(), Failure> {
    context
        .with_home(async |home| match &args.command {
            None => context.terminal.list(&home.devices().await?, render::devices),
            Some(DeviceCommand::Show { device }) => {
                let devices = home.devices().await?;
                context.terminal.value(named(&devices, device, is_member)?, render::device)
            }
            Some(DeviceCommand::Revoke(args)) => revoke(context, home, args).await,
            Some(DeviceCommand::Adopt(args)) => adopt(context, home, args).await,
        })
        .await
}

async fn revoke(
    context: &Context<'_>,
    home: &dyn Backend,
    args: &RevokeArgs,
) -> Result<(), Failure> {
    let devices = home.devices().await?;
    let device = named(&devices, &args.device, is_member)?;
    if !args.yes {
        confirm(context, &render::revoke_question(device, args.wipe))?;
    }
    let options = RevokeOptions { reason: args.reason.clone(), wipe: args.wipe };
    let report = home.revoke(device.device.to_string(), options).await?;
    context.terminal.value(&report, render::revoked)
}

async fn adopt(context: &Context<'_>, home: &dyn Backend, args: &AdoptArgs) -> Result<(), Failure> {
    let devices = home.devices().await?;
    let device = named(&devices, &args.device, |it| !is_member(it))?.device.to_string();
    let report = home.adopt(device, args.batches.clone()).await?;
    context.terminal.value(&report, render::adopted)
}

/// Asks before something that cannot be taken back.
fn confirm(context: &Context<'_>, question: &str) -> Result<(), Problem> {
    if !context.terminal.is_interactive() {
        let detail = "this cannot be taken back, and there is no terminal to ask on; add --yes";
        return Err(problem::usage(detail));
    }
    context.terminal.complain(question);
    let mut answer = String::new();
    let mut stderr = std::io::stderr().lock();
    // Where nobody listens there is nobody to answer either.
    let _ = write!(stderr, "Go on? [y/N] ").and_then(|()| stderr.flush());
    let read = std::io::stdin().lock().read_line(&mut answer);
    match (read, answer.trim().to_lowercase().as_str()) {
        (Ok(_), "y" | "yes") => Ok(()),
        _ => Err(problem::usage("nothing was done")),
    }
}

const fn is_member(device: &DeviceReport) -> bool {
    device.revoked.is_none()
}

/// The device with this name, id or end of an id; of several with one name the one that is meant.
fn named<'a>(
    devices: &'a [DeviceReport],
    name: &str,
    is_meant: impl Fn(&DeviceReport) -> bool,
) -> Result<&'a DeviceReport, Problem> {
    let wanted = name.trim();
    let exact = |device: &&DeviceReport| device.name == wanted;
    let ending = |device: &&DeviceReport| {
        !wanted.is_empty() && device.device.to_string().ends_with(&wanted.to_ascii_lowercase())
    };
    let mut found: Vec<&DeviceReport> = devices.iter().filter(exact).collect();
    if found.is_empty() {
        found = devices.iter().filter(ending).collect();
    }
    if found.iter().filter(|device| is_meant(device)).count() == 1 {
        found.retain(|device| is_meant(device));
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

#[cfg(test)]
mod tests {
    use fieldmesh::api::{Class, RevokedReport};

    use super::*;
    use crate::render::samples;

    #[test]
    fn a_device_is_found_by_name_or_end_of_id_and_never_guessed() {
        let devices = samples::devices();
        assert_eq!(named(&devices, "truck-7", is_member).unwrap(), &devices[1]);
        let id = devices[0].device.to_string();
        assert_eq!(named(&devices, &id[56..], is_member).unwrap(), &devices[0]);
        for (wanted, class) in [("", Class::NotFound), ("nobody", Class::NotFound)] {
            assert_eq!(named(&devices, wanted, is_member).unwrap_err().class, class, "{wanted}");
        }
        let twins = [devices[0].clone(), devices[0].clone()];
        assert_eq!(named(&twins, "office", is_member).unwrap_err().class, Class::Invalid);
    }

    #[test]
    fn a_name_that_was_used_again_never_revokes_the_new_device() {
        let old = samples::devices().remove(1);
        let revoked = Some(RevokedReport { reason: String::new(), wipe: false, by: None });
        let devices = [DeviceReport { revoked, ..old.clone() }, old];
        assert_eq!(named(&devices, "truck-7", is_member).unwrap(), &devices[1]);
        assert_eq!(named(&devices, "truck-7", |it| !is_member(it)).unwrap(), &devices[0]);
    }
}
