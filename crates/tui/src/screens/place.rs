//! Where the repository is.

use super::{Screen, Step, View, is_back};
use crate::context::Context;
use crate::data::{Failure, Hidden, Place, Volume};
use crate::event::{Action, Key};
use crate::field::Field;
use crate::look::Tone;
use crate::menu::Menu;
use crate::page::{Page, Row};
use crate::text::{fit, say, say_key, width};

/// A kind of target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An export of an NFS server.
    Nfs,
    /// A share of an SMB server.
    Smb,
    /// A disk with a label.
    Usb,
    /// A directory of this system.
    Directory,
    /// Object storage.
    S3,
}

const KINDS: [Kind; 5] = [Kind::Nfs, Kind::Smb, Kind::Usb, Kind::Directory, Kind::S3];

impl Kind {
    fn key(self) -> &'static str {
        match self {
            Self::Nfs => "nfs",
            Self::Smb => "smb",
            Self::Usb => "usb",
            Self::Directory => "directory",
            Self::S3 => "s3",
        }
    }

    /// What is asked: key of the text, and whether it must be there.
    fn fields(self) -> &'static [(&'static str, bool)] {
        match self {
            Self::Nfs => &[("server", true), ("export", true), ("options", false)],
            Self::Smb => &[
                ("server", true),
                ("share", true),
                ("user", false),
                ("domain", false),
                ("password", false),
                ("smb_options", false),
            ],
            Self::Usb => &[("label", true), ("below", false)],
            Self::Directory => &[("path", true)],
            Self::S3 => {
                &[("bucket", true), ("endpoint", false), ("region", false), ("key_id", false), ("secret", false)]
            }
        }
    }
}

/// Which kind.
pub struct Kinds {
    menu: Menu,
    /// The target of the job before, where there was one.
    same: Option<String>,
    /// Targets that the program was told of when it started.
    offered: Vec<String>,
}

impl Kinds {
    /// With the target of the job before as the first.
    pub fn new(context: &Context) -> Self {
        let same = (!context.place.target.is_empty()).then(|| context.place.target.clone());
        let is_new = |target: &&String| same.as_ref() != Some(*target) && Form::of(target).is_some();
        let offered = context.settings.targets.iter().filter(is_new).cloned().collect();
        Self { menu: Menu::at(0), same, offered }
    }

    /// Lines before the kinds.
    fn before(&self) -> usize {
        self.offered.len().saturating_add(usize::from(self.same.is_some()))
    }
}

impl View for Kinds {
    fn title(&self, context: &Context) -> String {
        say!(context.language, "place.title")
    }

    fn on_key(&mut self, key: Key, context: &mut Context) -> Step {
        let before = self.before();
        let behind = usize::from(context.settings.has_network);
        if self.menu.on_key(key, KINDS.len().saturating_add(before).saturating_add(behind)) {
            return Step::Stay;
        }
        match key {
            Key::Enter | Key::Character(' ') | Key::Right => {}
            key if is_back(key) => return Step::Back,
            _ => return Step::Stay,
        }
        let Some(chosen) = self.menu.chosen else { return Step::Stay };
        let offered = chosen.checked_sub(usize::from(self.same.is_some()));
        if let Some(form) = offered.and_then(|number| self.offered.get(number)).and_then(|target| Form::of(target)) {
            return form.show();
        }
        let number = chosen.checked_sub(before);
        match number.and_then(|number| KINDS.get(number)) {
            Some(kind) => Form::new(*kind).show(),
            None if number.is_some() => Step::wait(Action::ListLinks),
            None => Step::wait(Action::Open(context.place.clone())),
        }
    }

    fn draw(&self, context: &Context, page: &mut Page<'_>) {
        let language = context.language;
        let text = if matches!(context.task.key(), "save_disks" | "save_regions") { "place.to" } else { "place.from" };
        page.text(Tone::Plain, &say_key(language, text));
        page.gap();
        if let Some(same) = &self.same {
            page.choice(self.menu.is(0), &say!(language, "place.same", target = same), Tone::Plain);
        }
        for (number, target) in (usize::from(self.same.is_some())..).zip(&self.offered) {
            page.choice(self.menu.is(number), target, Tone::Plain);
        }
        let before = self.before();
        let names: Vec<String> = KINDS.iter().map(|kind| say_key(language, &format!("kind.{}", kind.key()))).collect();
        let widest = names.iter().map(|name| width(name)).max().unwrap_or_default();
        for (number, (kind, name)) in KINDS.iter().zip(&names).enumerate() {
            let about = say_key(language, &format!("about.{}", kind.key()));
            let text = format!("{}  {about}", fit(name, widest));
            page.choice(self.menu.is(number.saturating_add(before)), &text, Tone::Plain);
        }
        if context.settings.has_network {
            page.gap();
            let number = KINDS.len().saturating_add(before);
            page.choice(self.menu.is(number), &say!(language, "place.network"), Tone::Plain);
        }
        if context.settings.has_secret_target {
            page.gap();
            page.text(Tone::Warning, &say!(language, "place.secret"));
        }
    }
}

/// What is asked of one kind.
pub struct Form {
    kind: Kind,
    fields: Vec<Field>,
    /// Settings of a target that was offered which have no field: what is left out changes what is meant.
    others: Vec<String>,
    /// The field that is typed into; the number behind the last is the way on.
    chosen: usize,
    problem: Option<Failure>,
    is_incomplete: bool,
    /// Attached file systems; `None` where they are not asked for, or not known yet.
    volumes: Option<Vec<Volume>>,
}

impl Form {
    fn new(kind: Kind) -> Self {
        let hidden = |name: &str| matches!(name, "password" | "secret");
        let fields = kind.fields().iter();
        let fields = fields.map(|(name, _)| if hidden(name) { Field::hidden("") } else { Field::new("") });
        let (fields, others) = (fields.collect(), Vec::new());
        Self { kind, fields, others, chosen: 0, problem: None, is_incomplete: false, volumes: None }
    }

    /// Filled in as a command line names a target; `None` where it is of no kind that is known here. The password of a
    /// share is what is typed next, and otherwise nothing is.
    fn of(target: &str) -> Option<Self> {
        let (kind, values, others) = fields_of(target)?;
        let mut form = Self { others, ..Self::new(kind) };
        for (field, value) in form.fields.iter_mut().zip(&values) {
            if !value.is_empty() {
                *field = Field::new(value);
            }
        }
        let secret = form.fields.iter().position(Field::is_hidden);
        let asks = kind == Kind::Smb && !form.trimmed("user").is_empty();
        form.chosen = secret.filter(|_| asks).unwrap_or(form.fields.len());
        Some(form)
    }

    fn show(self) -> Step {
        let is_usb = self.kind == Kind::Usb;
        let screen = Screen::Place(self);
        if is_usb { Step::ShowAnd(Box::new(screen), Action::ListVolumes) } else { Step::show(screen) }
    }

    /// What the target, or the way to it, said.
    pub fn failed(&mut self, failure: Failure) {
        // After a wrong password the password is what is typed next.
        let is_login = failure.code == "target-login";
        let secret = self.fields.iter().position(Field::is_hidden).filter(|_| is_login);
        self.chosen = secret.unwrap_or(0);
        self.problem = Some(failure);
    }

    /// The file systems that are attached. None is entered already, not even the only one: it may be that of a disk
    /// that is to be saved.
    pub fn offer(&mut self, volumes: Vec<Volume>) {
        self.volumes = Some(volumes);
    }

    /// Takes the next of the attached file systems into the first field.
    fn next_volume(&mut self) {
        let (Some(volumes), Some(field)) = (&self.volumes, self.fields.first_mut()) else { return };
        let present = volumes.iter().position(|volume| volume.label == field.text());
        let next = present.map_or(0, |present| present.saturating_add(1));
        if let Some(volume) = volumes.get(next).or(volumes.first()) {
            *field = Field::new(&volume.label);
        }
    }

    fn value(&self, name: &str) -> &str {
        let number = self.kind.fields().iter().position(|(field, _)| *field == name);
        number.and_then(|number| self.fields.get(number)).map(|field| field.text()).unwrap_or_default()
    }

    fn trimmed(&self, name: &str) -> &str {
        self.value(name).trim()
    }

    /// As it is written on a command line; passwords apart.
    fn place(&self) -> Place {
        let escaped = |name: &str| escape(self.trimmed(name));
        let path = |name: &str| escape(self.trimmed(name).trim_start_matches('/'));
        let hidden = |name: &str| Hidden(self.value(name).to_owned());
        let mut place = Place::default();
        match self.kind {
            Kind::Nfs => {
                let options = after_mark(self.trimmed("options"));
                place.target = format!("nfs://{}/{}{options}", self.trimmed("server"), path("export"));
            }
            Kind::Smb => {
                let (domain, user) = (escaped("domain"), escaped("user"));
                let domain = if domain.is_empty() { domain } else { format!("{domain};") };
                let user = if user.is_empty() { user } else { format!("{domain}{user}@") };
                let share = path("share").replace("%5C", "/");
                let (share, options) = (share.trim_start_matches('/'), after_mark(self.trimmed("smb_options")));
                place.target = format!("smb://{user}{}/{share}{options}", self.trimmed("server"));
                let is_given = !user.is_empty() && !self.value("password").is_empty();
                place.password = is_given.then(|| hidden("password"));
            }
            Kind::Usb => {
                let below = self.trimmed("below").trim_matches('/');
                let below = if below.is_empty() { String::new() } else { format!("/{below}") };
                place.target = format!("usb:{}{below}", self.trimmed("label"));
            }
            Kind::Directory => {
                // A path with a colon is no address.
                let path = self.trimmed("path");
                let is_plain = path.starts_with(['/', '.']);
                place.target = if is_plain { path.to_owned() } else { format!("./{path}") };
            }
            Kind::S3 => {
                let settings = [("endpoint", self.trimmed("endpoint")), ("region", self.trimmed("region"))];
                let settings = settings.iter().filter(|(_, value)| !value.is_empty()).map(|(k, v)| format!("{k}={v}"));
                let settings: Vec<String> = settings.chain(self.others.iter().cloned()).collect();
                place.target = format!("s3://{}{}", path("bucket"), after_mark(&settings.join("&")));
                let id = self.trimmed("key_id");
                place.keys = (!id.is_empty()).then(|| (id.to_owned(), hidden("secret")));
            }
        }
        place
    }

    fn is_complete(&self) -> bool {
        let mut fields = self.kind.fields().iter().zip(&self.fields);
        fields.all(|((_, is_needed), field)| !is_needed || !field.text().trim().is_empty())
    }
}

/// Settings as they stand behind an address.
fn after_mark(settings: &str) -> String {
    if settings.is_empty() { String::new() } else { format!("?{settings}") }
}

/// The fields of a target as it is written on a command line, and the settings that have no field.
fn fields_of(target: &str) -> Option<(Kind, Vec<String>, Vec<String>)> {
    let (scheme, rest) = target.split_once(':').unwrap_or_default();
    let (rest, options) = match (scheme, rest.strip_prefix("//")) {
        ("nfs" | "smb" | "s3", Some(rest)) => rest.split_once('?').unwrap_or((rest, "")),
        // A label may have any character in it.
        ("usb", _) => {
            let (label, below) = rest.split_once('/').unwrap_or((rest, ""));
            return Some((Kind::Usb, vec![label.to_owned(), below.to_owned()], Vec::new()));
        }
        _ if target.starts_with(['/', '.']) => return Some((Kind::Directory, vec![target.to_owned()], Vec::new())),
        _ => return None,
    };
    let (first, below) = rest.split_once('/').unwrap_or((rest, ""));
    match scheme {
        "nfs" => {
            let values = vec![first.to_owned(), format!("/{}", unescape(below)), options.to_owned()];
            Some((Kind::Nfs, values, Vec::new()))
        }
        "smb" => {
            let (login, server) = first.rsplit_once('@').unwrap_or(("", first));
            // A password that stands in a target is no part of a user's name, and is never shown.
            if login.contains(':') {
                return None;
            }
            let (domain, user) = login.split_once(';').unwrap_or(("", login));
            let values = [server.to_owned(), unescape(below), unescape(user), unescape(domain)];
            let values = values.into_iter().chain([String::new(), options.to_owned()]);
            Some((Kind::Smb, values.collect(), Vec::new()))
        }
        _ => {
            let pairs = || options.split('&').filter(|pair| !pair.is_empty());
            let has_field = |pair: &str| matches!(pair.split_once('='), Some(("endpoint" | "region", _)));
            // Of several the last counts, as on a command line.
            let option = |name: &str| {
                let mut values = pairs().filter_map(|pair| pair.split_once('=')).filter(|(key, _)| *key == name);
                values.next_back().map(|(_, value)| value.to_owned()).unwrap_or_default()
            };
            let others = pairs().filter(|pair| !has_field(pair)).map(str::to_owned).collect();
            Some((Kind::S3, vec![unescape(rest), option("endpoint"), option("region")], others))
        }
    }
}

/// The opposite of [`escape`]. What is not written as it should be stays as it is.
fn unescape(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let meant = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let meant = meant.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(meant.unwrap_or(*first));
        rest = if meant.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Puts `%` and two digits in the place of what means something in an address.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'%' | b'@' | b':' | b';' | b'?' | b'#' | b'&' | b'\\' => escaped.push_str(&format!("%{byte:02X}")),
            0..0x21 | 0x7f.. => escaped.push_str(&format!("%{byte:02X}")),
            plain => escaped.push(char::from(plain)),
        }
    }
    escaped
}

impl View for Form {
    fn title(&self, context: &Context) -> String {
        say_key(context.language, &format!("kind.{}", self.kind.key()))
    }

    fn help(&self, context: &Context) -> String {
        say!(context.language, "help.form")
    }

    fn is_typing(&self) -> bool {
        self.chosen < self.fields.len()
    }

    fn is_secret(&self) -> bool {
        self.fields.get(self.chosen).is_some_and(Field::is_hidden)
    }

    fn on_key(&mut self, key: Key, context: &mut Context) -> Step {
        let count = self.fields.len();
        match key {
            Key::Escape => return Step::Back,
            Key::Up | Key::BackTab => self.chosen = self.chosen.saturating_sub(1),
            Key::Down | Key::Tab => self.chosen = self.chosen.saturating_add(1).min(count),
            Key::Enter if self.chosen < count => self.chosen = self.chosen.saturating_add(1),
            Key::Right if self.kind == Kind::Usb && self.chosen == 0 => self.next_volume(),
            Key::Enter => {
                self.is_incomplete = !self.is_complete();
                if self.is_incomplete {
                    return Step::Stay;
                }
                self.problem = None;
                context.place = self.place();
                return Step::wait(Action::Open(context.place.clone()));
            }
            key => match self.fields.get_mut(self.chosen) {
                Some(field) => {
                    if key == Key::Backspace && field.text().is_empty() {
                        return Step::Stay;
                    }
                    self.is_incomplete = false;
                    field.on_key(key);
                }
                None if is_back(key) => return Step::Back,
                None => {}
            },
        }
        Step::Stay
    }

    fn draw(&self, context: &Context, page: &mut Page<'_>) {
        let language = context.language;
        let names: Vec<String> =
            self.kind.fields().iter().map(|(name, _)| say_key(language, &format!("field.{name}"))).collect();
        let widest = names.iter().map(|name| width(name)).max().unwrap_or_default();
        for (number, (field, name)) in self.fields.iter().zip(&names).enumerate() {
            draw_labelled(page, field, name, widest, number == self.chosen);
        }
        page.gap();
        page.choice(self.chosen >= self.fields.len(), &say!(language, "place.connect"), Tone::Plain);
        page.gap();
        if let Some((name, _)) = self.kind.fields().get(self.chosen) {
            page.text(Tone::Dim, &say_key(language, &format!("hint.{name}")));
        }
        if self.is_incomplete {
            page.gap();
            page.text(Tone::Warning, &say!(language, "place.incomplete"));
        }
        if let Some(volumes) = &self.volumes {
            page.rule(&say!(language, "place.volumes"));
            if volumes.is_empty() {
                page.line(Tone::Warning, say!(language, "place.no_volumes"));
            }
            let widest = volumes.iter().map(|volume| width(&volume.label)).max().unwrap_or_default();
            for volume in volumes.iter().take(page.left().saturating_sub(6)) {
                page.line(Tone::Plain, format!("  {}  {}", fit(&volume.label, widest), volume.about));
            }
        }
        if let Some(failure) = &self.problem {
            page.problem(&say!(language, "failure.title"), failure);
        }
    }
}

/// A field with its name before it.
pub fn draw_labelled(page: &mut Page<'_>, field: &Field, name: &str, widest: usize, is_chosen: bool) {
    let label = format!("{} {}  ", if is_chosen { ">" } else { " " }, fit(name, widest));
    let start = width(&label);
    let room = page.columns().saturating_sub(start).saturating_sub(1);
    let (shown, cursor) = field.shown();
    // Of a long text the part around the cursor is shown.
    let hidden = cursor.saturating_sub(room);
    let shown: String = if hidden == 0 { shown } else { skip_columns(&shown, hidden) };
    let tone = if is_chosen { Tone::Strong } else { Tone::Plain };
    let blank = "_".repeat(room.min(40).saturating_sub(width(&shown)));
    page.row(&Row::new(tone, label).and(tone, shown).and(Tone::Dim, blank));
    if is_chosen {
        page.set_cursor(start.saturating_add(cursor.saturating_sub(hidden)));
    }
}

fn skip_columns(text: &str, columns: usize) -> String {
    let mut skipped = 0;
    let kept = text.chars().skip_while(|character| {
        let skip = skipped < columns;
        if skip {
            skipped = skipped.saturating_add(width(&character.to_string()));
        }
        skip
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(kind: Kind, values: &[&str]) -> Place {
        let mut form = Form::new(kind);
        form.fields = values.iter().map(|value| Field::new(value)).collect();
        form.place()
    }

    #[test]
    fn targets_are_written_as_on_a_command_line() {
        let cases = [
            (Kind::Nfs, vec!["nas1", "/export/images", ""], "nfs://nas1/export/images"),
            (Kind::Nfs, vec!["[fd00::1]:2049", "a b", "uid=1&gid=2"], "nfs://[fd00::1]:2049/a%20b?uid=1&gid=2"),
            (Kind::Smb, vec!["nas", "\\images\\a", "", "", "x"], "smb://nas/images/a"),
            (Kind::Smb, vec!["nas", "images", "jo@x", "DOM", ""], "smb://DOM;jo%40x@nas/images"),
            (
                Kind::Smb,
                vec!["nas:4450", "images", "jo", "", "", "encryption=required&security=kerberos&client=kernel"],
                "smb://jo@nas:4450/images?encryption=required&security=kerberos&client=kernel",
            ),
            (Kind::Smb, vec!["nas", "a", "", "", "", "colour=red"], "smb://nas/a?colour=red"),
            (Kind::Usb, vec!["MY?DISK&", "a?b"], "usb:MY?DISK&/a?b"),
            (Kind::Usb, vec!["BACKUP", "/a/"], "usb:BACKUP/a"),
            (Kind::Directory, vec!["a:b"], "./a:b"),
            (Kind::Directory, vec!["/mnt"], "/mnt"),
            (Kind::S3, vec!["b/p", "https://s", "r", "", ""], "s3://b/p?endpoint=https://s&region=r"),
        ];
        for (kind, values, target) in cases {
            assert_eq!(place(kind, &values).target, target);
            let again = Form::of(target).map(|form| (form.kind, form.place().target));
            assert_eq!(again, Some((kind, target.to_owned())), "a form that is filled in");
        }
    }

    /// Whatever is not understood here is told by whoever takes the target apart; what is left out is told by nobody.
    #[test]
    fn settings_without_a_field_stay_in_a_target_that_is_offered() {
        let again = |target: &str| Form::of(target).map(|form| form.place().target);
        for target in ["s3://b?colour=red", "s3://b/p%20q?endpoint=http://127.0.0.1:9000&region=eu-1&colour"] {
            assert_eq!(again(target), Some(target.to_owned()));
        }
        let expected = "s3://b?endpoint=https://two&x=1";
        assert_eq!(again("s3://b?endpoint=https://one&x=1&endpoint=https://two"), Some(expected.to_owned()));
    }

    #[test]
    fn a_password_is_no_part_of_a_name() {
        for target in ["smb://games:hunter2@nas/images", "smb://LAB;games:hunter2@nas/images", "smb://:@nas/images"] {
            assert!(Form::of(target).is_none(), "{target}");
        }
        assert!(Form::of("smb://games@nas:445/images").is_some());
    }

    #[test]
    fn a_target_that_is_offered_asks_for_the_password_alone() {
        let next = |target: &str| Form::of(target).map(|form| form.kind.fields().get(form.chosen).map(|field| field.0));
        assert_eq!(next("smb://games@10.0.2.2:445/images"), Some(Some("password")));
        assert_eq!(next("smb://10.0.2.2/images"), Some(None));
        assert_eq!(next("nfs://10.0.2.2:2049/images?mountport=3"), Some(None));
        assert_eq!(next("gopher://10.0.2.2/1"), None);
        assert_eq!(unescape("a%20b%zz%4"), "a b%zz%4");
    }

    #[test]
    fn no_file_system_is_taken_that_nobody_chose() {
        let mut form = Form::new(Kind::Usb);
        form.offer(vec![Volume { label: "root".into(), about: "ext4  /dev/sda2".into() }]);
        assert!(!form.is_complete() && form.trimmed("label").is_empty());
        form.next_volume();
        assert_eq!(form.place().target, "usb:root");
    }

    #[test]
    fn passwords_stay_out_of_the_target() {
        let with = place(Kind::Smb, &["nas", "images", "u", "", "hunter2"]);
        assert!(!with.target.contains("hunter2") && !format!("{with:?}").contains("hunter2"));
        assert_eq!(with.password, Some(Hidden("hunter2".into())));
        assert_eq!(place(Kind::Smb, &["nas", "images", "", "", "hunter2"]).password, None, "a guest has none");
    }
}
