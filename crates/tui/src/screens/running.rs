//! How far the work is, and whether it is stuck.

use super::{Step, View, is_back};
use crate::context::Context;
use crate::event::{Action, Key};
use crate::look::Tone;
use crate::menu::Menu;
use crate::page::{Page, Row, note_rows};
use crate::progress::STAGES;
use crate::text::{bytes, duration, say, say_key};

/// The running work.
#[derive(Default)]
pub struct Running {
    /// Whether the operator is asked if it shall stop.
    asks: Option<Menu>,
    is_stopping: bool,
}

impl View for Running {
    fn title(&self, context: &Context) -> String {
        say!(context.language, "running.title")
    }

    fn help(&self, context: &Context) -> String {
        match self.asks {
            Some(_) => say!(context.language, "help.menu"),
            None => say!(context.language, "help.running"),
        }
    }

    fn on_key(&mut self, key: Key, _: &mut Context) -> Step {
        let Some(menu) = &mut self.asks else {
            let wants_to_stop = is_back(key) || matches!(key, Key::Interrupt | Key::Character('c'));
            if wants_to_stop && !self.is_stopping {
                self.asks = Some(Menu::at(0));
            }
            return Step::Stay;
        };
        if menu.on_key(key, 2) {
            return Step::Stay;
        }
        let is_yes = menu.is(1);
        match key {
            Key::Enter if is_yes => {
                self.asks = None;
                self.is_stopping = true;
                Step::Act(Action::Cancel)
            }
            Key::Enter | Key::Escape | Key::Backspace | Key::Character('q') | Key::Left => {
                self.asks = None;
                Step::Stay
            }
            _ => Step::Stay,
        }
    }

    fn draw(&self, context: &Context, page: &mut Page<'_>) {
        let (language, progress) = (context.language, &context.progress);
        let phase = progress.phase.map_or_else(
            || say!(language, "phase.begin"),
            |phase| {
                let key = format!("{phase:?}").to_lowercase();
                say_key(language, &format!("phase.{key}"))
            },
        );
        let image = if context.image.is_empty() { String::new() } else { format!("  {}", context.image) };
        page.row(&Row::new(Tone::Strong, phase).and(Tone::Plain, image));
        page.gap();
        let width = page.columns().saturating_sub(8);
        let look = page.look();
        let full = usize::try_from(progress.percent()).unwrap_or(100).saturating_mul(width) / 100;
        let bar: String = std::iter::repeat_n(look.full(), full).collect();
        let rest: String = std::iter::repeat_n(look.empty(), width.saturating_sub(full)).collect();
        let percent = format!(" {:>4}%", progress.percent());
        page.row(&Row::new(Tone::Full, bar).and(Tone::Dim, rest).and(Tone::Strong, percent));
        page.line(Tone::Plain, self.amount(context));
        page.line(Tone::Plain, Self::speed(context));
        page.row(&Self::graph(context, page));
        if let Some(region) = &progress.region {
            let amount = progress.of_region();
            let amount = amount.map(|(done, total)| format!("  {} / {}", bytes(done), bytes(total)));
            let line = say!(language, "running.region", region = region);
            page.line(Tone::Plain, format!("{line}{}", amount.unwrap_or_default()));
        }
        page.line(Tone::Plain, Self::stages(context));
        if progress.losses > 0 {
            page.line(Tone::Warning, say!(language, "running.losses", count = progress.losses));
        }
        if progress.retries > 0 {
            page.line(Tone::Warning, say!(language, "running.retries", count = progress.retries));
        }
        if progress.unreadable > 0 {
            page.line(Tone::Warning, say!(language, "running.unreadable", size = bytes(progress.unreadable)));
        }
        if let Some(contact) = &progress.contact {
            page.text(Tone::Bad, contact);
        }
        if let Some(menu) = &self.asks {
            page.rule(&say!(language, "running.stop"));
            let text = if context.task.overwrites() { "running.stop_restore" } else { "running.stop_save" };
            page.text(Tone::Warning, &say_key(language, text));
            page.choice(menu.is(0), &say!(language, "running.go_on"), Tone::Plain);
            page.choice(menu.is(1), &say!(language, "running.stop_now"), Tone::Plain);
            return;
        }
        if self.is_stopping {
            page.line(Tone::Warning, say!(language, "running.stopping"));
        }
        page.rule(&say!(language, "running.log"));
        let columns = page.columns();
        let rows: Vec<Row> = progress.log.iter().flat_map(|note| note_rows(note, columns)).collect();
        let first = rows.len().saturating_sub(page.left());
        rows.iter().skip(first).for_each(|row| page.row(row));
    }
}

impl Running {
    fn amount(&self, context: &Context) -> String {
        let (language, progress) = (context.language, &context.progress);
        let elapsed = duration(language, progress.elapsed());
        let left = match progress.left() {
            Some(seconds) => duration(language, seconds),
            None => say!(language, "running.unknown"),
        };
        let amount = if progress.counts_bytes() {
            format!("{} / {}", bytes(progress.done), bytes(progress.total))
        } else {
            format!("{} / {}", progress.done, progress.total)
        };
        say!(language, "running.amount", amount = amount, elapsed = elapsed, left = left)
    }

    fn speed(context: &Context) -> String {
        let (language, progress) = (context.language, &context.progress);
        let rate = |rate: Option<u64>| match rate {
            Some(rate) if progress.counts_bytes() => format!("{}/s", bytes(rate)),
            _ => "-".to_owned(),
        };
        say!(language, "running.speed", now = rate(progress.rate()), average = rate(progress.average()))
    }

    /// Which stage holds up the others, and how busy each was in the last seconds.
    fn stages(context: &Context) -> String {
        let language = context.language;
        let Some(shares) = context.progress.busy() else {
            return say!(language, "running.slowest", stage = "-");
        };
        let named: Vec<(String, u64)> = STAGES
            .iter()
            .zip(shares)
            .map(|(name, share)| (say_key(language, &format!("stage.{name}")), share))
            .collect();
        let slowest = named.iter().max_by_key(|(_, share)| *share).cloned().unwrap_or_default();
        let others = named.iter().filter(|(name, _)| *name != slowest.0);
        let others: Vec<String> = others.map(|(name, share)| format!("{name} {share}%")).collect();
        let stage = format!("{} {}%", slowest.0, slowest.1);
        format!("{}  ({})", say!(language, "running.slowest", stage = stage), others.join(", "))
    }

    /// The rates of the last two minutes, the newest at the right.
    fn graph(context: &Context, page: &Page<'_>) -> Row {
        let rates = &context.progress.rates;
        let highest = rates.iter().copied().max().unwrap_or_default().max(1);
        let width = page.columns().min(60);
        let shown = rates.iter().skip(rates.len().saturating_sub(width));
        let eighths = |rate: &u64| {
            let eighths = u128::from(*rate).saturating_mul(8).checked_div(u128::from(highest));
            eighths.and_then(|eighths| u64::try_from(eighths).ok()).unwrap_or(8)
        };
        let graph: String = shown.map(|rate| page.look().eighths(eighths(rate))).collect();
        Row::new(Tone::Full, graph)
    }
}
