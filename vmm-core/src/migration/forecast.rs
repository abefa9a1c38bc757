//! What a migration would be like, told before it begins.
//!
//! The guest is logged for a second or so and its dirty pages are counted without cleaning the log: how many *distinct* pages were
//! written after 50, 100, 200 … ms. That [`Curve`] rises ever more slowly, for a page that is written twice counts once. From it the passes follow:
//! what is written while one pass is on the link is the next one, until another pass costs more than it gains or nothing gets shorter.

use super::brake::Situation;
use super::{Brake, Limits, PAGE_BYTES};

/// Passes that are looked ahead.
const PASSES_MAX: u32 = 64;
/// A rest as short as this is not worth another pass.
const SHORT_S: f64 = 0.002;

/// Distinct pages written by time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    points: Vec<(f64, f64)>,
}

impl Curve {
    /// `pages` distinct ones were written in the first `seconds`. What contradicts an earlier point (less time, more pages) is ignored.
    pub fn saw(&mut self, seconds: f64, pages: u32) {
        let pages = f64::from(pages);
        let fits = self.points.last().is_none_or(|(at, of)| seconds > *at && pages >= *of);
        if seconds > 0.0 && fits {
            self.points.push((seconds, pages));
        }
    }

    /// Whether nothing was seen yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// Distinct pages in so many seconds: between the points by straight lines, beyond them on by the last one.
    #[must_use]
    pub fn pages(&self, seconds: f64) -> f64 {
        let mut before = (0.0, 0.0);
        let mut slope = 0.0;
        for point in &self.points {
            slope = (point.1 - before.1) / (point.0 - before.0);
            if seconds <= point.0 {
                break;
            }
            before = *point;
        }
        before.1 + slope * (seconds - before.0)
    }
}

/// What is to be moved over what.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Pages that exist and are not known to hold nothing.
    pub pages: u32,
    /// Bytes that a page takes on the wire, on the average; [`super::PAGE_BYTES`] where nothing is packed.
    pub page_bytes: f64,
    /// Bytes that a page takes that was sent before; as `page_bytes` where there are no deltas.
    pub again_bytes: f64,
    /// What the link carries, in bytes a second.
    pub link: f64,
    /// What no page is part of: stop, device state, start.
    pub fixed_s: f64,
}

/// How it would go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// It gets short by itself.
    Converges,
    /// It needs this brake, for a loss of so many seconds.
    Braked {
        /// How strong.
        brake: Brake,
        /// What the guest would lose, in seconds.
        loss_s: f64,
    },
    /// Only with a downtime beyond the wish and within the limit.
    Relaxed,
    /// Not within the limits.
    Refused,
}

/// The prediction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// How it would go.
    pub verdict: Verdict,
    /// From the first page to the guest running at the destination.
    pub total_s: f64,
    /// How long it would stand still.
    pub downtime_s: f64,
    /// What would travel.
    pub bytes: f64,
    /// Passes over what was written meanwhile.
    pub passes: u32,
}

/// How moving would go.
#[must_use]
pub fn forecast(question: &Question, curve: &Curve, limits: &Limits) -> Forecast {
    let free = run(question, curve, limits, Brake::OFF);
    let found = |verdict, of: Forecast| Forecast { verdict, ..of };
    if free.downtime_s <= limits.downtime_target.as_secs_f64() {
        return found(Verdict::Converges, free);
    }
    let excess_s = free.downtime_s - question.fixed_s;
    let ratio = curve.pages(0.1) * 10.0 * question.again_bytes / question.link;
    let budget_s = limits.brake_budget.as_secs_f64();
    let situation = Situation { excess_s, ratio, budget_s };
    if let Some(brake) = situation.brake()
        && let Some(loss_s) = situation.loss_s(brake)
    {
        let braked = run(question, curve, limits, brake);
        if braked.downtime_s <= limits.downtime_target.as_secs_f64() {
            return found(Verdict::Braked { brake, loss_s }, braked);
        }
    }
    let is_allowed = free.downtime_s <= limits.downtime_max.as_secs_f64();
    found(if is_allowed { Verdict::Relaxed } else { Verdict::Refused }, free)
}

fn run(question: &Question, curve: &Curve, limits: &Limits, brake: Brake) -> Forecast {
    let pages = f64::from(question.pages);
    let written = |seconds: f64| curve.pages(seconds).min(pages) * question.again_bytes;
    // Only what comes after the first pass is braked: a guest then writes in a second what it would have written in less.
    let keep = 1.0 - brake.denied();
    let mut bytes = pages * question.page_bytes;
    let mut rest_s = written(bytes / question.link) / question.link;
    let mut passes = 0;
    while passes < PASSES_MAX && rest_s > SHORT_S {
        let next_s = written(rest_s * keep) / question.link;
        let is_short = rest_s + question.fixed_s <= limits.downtime_target.as_secs_f64();
        if next_s > rest_s * if is_short { limits.ratio_max() } else { 0.98 } {
            break;
        }
        bytes += rest_s * question.link;
        (rest_s, passes) = (next_s, passes + 1);
    }
    bytes += rest_s * question.link;
    let downtime_s = rest_s + question.fixed_s;
    let total_s = bytes / question.link + question.fixed_s;
    Forecast { verdict: Verdict::Converges, total_s, downtime_s, bytes, passes }
}

impl Question {
    /// Of a guest that is sent as it is.
    #[must_use]
    pub fn plain(pages: u32, link: f64, fixed_s: f64) -> Self {
        let page = f64::from(PAGE_BYTES);
        Self { pages, page_bytes: page, again_bytes: page, link, fixed_s }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: &[(f64, u32)]) -> Curve {
        let mut curve = Curve::default();
        points.iter().for_each(|(seconds, pages)| curve.saw(*seconds, *pages));
        curve
    }

    #[test]
    fn a_curve_is_read_between_and_beyond_its_points() {
        let curve = curve(&[(0.1, 100), (0.2, 150), (0.15, 999), (0.3, 10), (0.4, 200)]);
        let check = |seconds, expect: f64| {
            assert!((curve.pages(seconds) - expect).abs() < 1e-9, "{seconds}")
        };
        check(0.0, 0.0);
        check(0.05, 50.0);
        check(0.2, 150.0);
        check(0.3, 175.0);
        check(0.8, 300.0);
        assert_eq!(Curve::default().pages(3.0), 0.0);
    }

    #[test]
    fn each_kind_of_guest_gets_its_verdict() {
        let question = Question::plain(262_144, 117e6, 0.02);
        let limits = Limits::default();
        let check = |points: &[(f64, u32)]| forecast(&question, &curve(points), &limits);
        let idle = check(&[(0.1, 10), (1.0, 40)]);
        assert_eq!(idle.verdict, Verdict::Converges);
        assert!((idle.total_s - 9.2).abs() < 0.1 && idle.downtime_s < 0.05, "{idle:?}");
        let hot = check(&[(0.1, 5_000), (1.0, 8_000), (2.0, 8_000)]);
        assert_eq!(hot.verdict, Verdict::Converges);
        let muncher = check(&[(0.1, 10_000), (1.0, 100_000)]);
        assert!(
            matches!(muncher.verdict, Verdict::Braked { .. } | Verdict::Refused),
            "{muncher:?}"
        );
        assert!(muncher.downtime_s > idle.downtime_s);
    }

    #[test]
    fn what_is_not_allowed_is_refused_and_what_is_allowed_is_relaxed() {
        let question = Question::plain(262_144, 117e6, 0.02);
        let writer = curve(&[(0.1, 20_000), (1.0, 200_000)]);
        let strict = Limits { brake_budget: std::time::Duration::ZERO, ..Limits::default() };
        assert_eq!(forecast(&question, &writer, &strict).verdict, Verdict::Refused);
        let lenient = Limits { downtime_max: std::time::Duration::from_secs(60), ..strict };
        assert_eq!(forecast(&question, &writer, &lenient).verdict, Verdict::Relaxed);
    }

    #[test]
    fn a_brake_makes_short_what_was_not() {
        let question = Question { again_bytes: 1024.0, ..Question::plain(262_144, 117e6, 0.02) };
        let writer = curve(&[(0.1, 20_000), (1.0, 180_000)]);
        let found = forecast(&question, &writer, &Limits::default());
        assert!(
            matches!(found.verdict, Verdict::Braked { loss_s, .. } if loss_s <= 5.0),
            "{found:?}"
        );
        assert!(found.downtime_s <= 0.3, "{found:?}");
    }
}
