//! What is wrong with a home.

use fieldmesh::api::{DoctorReport, Finding};

use super::{Style, Tone, counted, one_line};

/// Everything that was found, what is open first.
pub(crate) fn doctor(report: &DoctorReport, style: &Style) -> String {
    let open = report.findings.iter().filter(|finding| finding.open).count();
    let mut text = match open {
        0 => style.paint(Tone::Good, "Nothing is open."),
        count => {
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            style.paint(Tone::Bad, &format!("{} open.", counted(count, "thing is", "things are")))
        }
    };
    text.push('\n');
    if let Some(percent) = report.checking {
        text.push_str(&format!("What is stored is being checked: {percent} % done.\n"));
    }
    if let Some(remaking) = report.remaking {
        let words = one_line(&remaking.words());
        text.push_str(&style.paint(Tone::Doubtful, &format!("Not all is known here: {words}.")));
        text.push('\n');
    }
    for finding in &report.findings {
        text.push_str(&shown(finding, style));
    }
    text
}

fn shown(finding: &Finding, style: &Style) -> String {
    let (sign, tone) = if finding.open { ("!", Tone::Bad) } else { ("-", Tone::Plain) };
    let mut text =
        format!("\n{}\n", style.paint(tone, &format!("{sign} {}", one_line(&finding.what))));
    for line in [&finding.means, &finding.done] {
        if !line.is_empty() {
            text.push_str(&format!("  {}\n", one_line(line)));
        }
    }
    if !finding.next.is_empty() {
        let heading = style.paint(Tone::Heading, "What you can do:");
        text.push_str(&format!("  {heading} {}\n", one_line(&finding.next)));
    }
    text
}
