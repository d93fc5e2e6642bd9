//! Makes a failing day smaller, so that a person can follow it.

use crate::plan::Plan;
use crate::plan::setting::ALL;
use crate::violation::Failure;
use crate::world::run;

/// The most days that are lived through to find a smaller one.
const RUNS_MAX: usize = 120;

/// The smallest day found in which the same property does not hold: fewer devices, batches, faults.
pub fn shrink(failure: &Failure) -> Failure {
    let mut smallest = failure.clone();
    let mut runs = 0;
    loop {
        let before = smallest.plan.clone();
        for setting in &ALL {
            let mut step = Step::Least;
            while let Some(plan) = step.apply(&smallest.plan, setting) {
                runs += 1;
                if runs > RUNS_MAX {
                    return smallest;
                }
                match run(&plan, smallest.seed, None) {
                    Err(next) if next.violation.is_like(&failure.violation) => {
                        smallest = *next;
                    }
                    Ok(_) | Err(_) => match step.smaller() {
                        Some(smaller) => step = smaller,
                        None => break,
                    },
                }
            }
        }
        if smallest.plan == before {
            return smallest;
        }
    }
}

/// How much is taken off one number.
#[derive(Clone, Copy)]
enum Step {
    Least,
    Half,
    One,
}

impl Step {
    const fn smaller(self) -> Option<Self> {
        match self {
            Self::Least => Some(Self::Half),
            Self::Half => Some(Self::One),
            Self::One => None,
        }
    }

    /// The plan with a smaller number; None if it is as small as it can be.
    fn apply(self, plan: &Plan, setting: &crate::plan::setting::Setting) -> Option<Plan> {
        let number = (setting.read)(plan);
        if number <= setting.min {
            return None;
        }
        let smaller = match self {
            Self::Least => setting.min,
            Self::Half => setting.min + (number - setting.min) / 2,
            Self::One => number - 1,
        };
        let mut plan = plan.clone();
        (setting.write)(&mut plan, smaller);
        Some(plan)
    }
}
