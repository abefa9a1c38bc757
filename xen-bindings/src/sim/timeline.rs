//! What happens when: each event at most once, at the earliest time that was asked for, in a fixed order.

use std::collections::BTreeMap;
use std::time::Duration;

use super::backend::DeviceKey;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// A guest looks at everything.
    Guest(u16),
    /// A backend looks at its device.
    Backend(DeviceKey),
    /// A dying domain's last page may be released.
    Release(u16),
    /// xenconsoled has opened a terminal.
    ConsoleTty(u16),
}

#[derive(Debug, Default)]
pub(crate) struct Timeline {
    by_time: BTreeMap<(Duration, u64), Event>,
    by_event: BTreeMap<Event, (Duration, u64)>,
    sequence: u64,
}

impl Timeline {
    /// An event that is due already keeps the earlier time.
    pub(crate) fn schedule(&mut self, event: Event, at: Duration) {
        if let Some(key) = self.by_event.get(&event) {
            if key.0 <= at {
                return;
            }
            self.by_time.remove(key);
        }
        self.sequence += 1;
        let key = (at, self.sequence);
        self.by_time.insert(key, event);
        self.by_event.insert(event, key);
    }

    pub(crate) fn next_time(&self) -> Option<Duration> {
        self.by_time.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next event that is due by `now`.
    pub(crate) fn pop(&mut self, now: Duration) -> Option<(Duration, Event)> {
        let entry = self.by_time.first_entry()?;
        let at = entry.key().0;
        if at > now {
            return None;
        }
        let event = entry.remove();
        self.by_event.remove(&event);
        Some((at, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_asked_for_twice_happens_once_and_early() {
        let ms = Duration::from_millis;
        let mut timeline = Timeline::default();
        timeline.schedule(Event::Guest(2), ms(5));
        timeline.schedule(Event::Guest(1), ms(9));
        timeline.schedule(Event::Guest(1), ms(3));
        timeline.schedule(Event::Guest(1), ms(7));
        assert_eq!(timeline.pop(ms(2)), None);
        assert_eq!(timeline.pop(ms(9)), Some((ms(3), Event::Guest(1))));
        assert_eq!(timeline.pop(ms(9)), Some((ms(5), Event::Guest(2))));
        assert_eq!(timeline.pop(ms(9)), None);
    }
}
