//! A walk through all screens, without a destination that is written to.

use super::operator::Operator;

/// Entries of the first menu of the medium. A walk that knows of fewer than there are fails.
const TASKS: [&str; 14] = [
    "save_disks",
    "save_regions",
    "restore_disks",
    "restore_regions",
    "verify",
    "compare",
    "images",
    "signatures",
    "checklist",
    "network",
    "language",
    "reboot",
    "power_off",
    "shell",
];
const BACK: &str = "\x1b";

impl Operator<'_> {
    /// Saves these disks as an image in a directory of the machine, and opens every screen of every task, up to the
    /// question that would begin a restore. From the first screen to the tasks.
    ///
    /// # Panics
    /// Where a screen does not come.
    #[track_caller]
    pub fn browse(&mut self, disks: &[&str], directory: &str) {
        self.go_to_tasks("\r");
        self.check_tasks();
        self.save_disks(disks, directory);
        self.save_regions(disks[0]);
        self.restore();
        self.read_images();
        self.look_at_the_machine();
        self.open("language", "language.text");
    }

    fn text(&self, key: &str) -> String {
        self.words().get(key).to_owned()
    }

    #[track_caller]
    fn take(&mut self, key: &str) {
        let text = self.text(key);
        self.choose(&text);
    }

    fn check_tasks(&mut self) {
        let names: Vec<String> = TASKS.iter().map(|task| self.text(&format!("task.{task}"))).collect();
        let entries = self.entries();
        let shown: Vec<_> = entries.iter().take_while(|entry| !entry.is_empty()).collect();
        assert_eq!(shown.len(), names.len(), "{shown:#?}");
        for (entry, name) in shown.iter().zip(&names) {
            assert!(entry.trim_start_matches("> ").starts_with(name.as_str()), "{entry}: {name}");
        }
    }

    /// A task from the menu, up to a screen.
    #[track_caller]
    fn open(&mut self, task: &str, title: &str) {
        self.reach("task.title");
        self.take(&format!("task.{task}"));
        if title == "language.text" {
            return self.go_to_tasks("\r");
        }
        self.reach(title);
    }

    /// A task that works with the target of the first one.
    #[track_caller]
    fn open_same(&mut self, task: &str, title: &str) {
        self.open(task, "place.title");
        self.enter();
        self.reach(title);
    }

    /// Details of what is chosen, and back.
    #[track_caller]
    fn look_closer(&mut self, title: &str) {
        self.press("i");
        self.reach("disk.title");
        self.press("q");
        self.reach(title);
    }

    #[track_caller]
    fn save_disks(&mut self, disks: &[&str], directory: &str) {
        self.open("save_disks", "place.title");
        self.take("kind.directory");
        self.reach("kind.directory");
        let path = self.text("field.path");
        self.fill(&path, directory, false);
        self.take("place.connect");
        self.reach("name.title");
        self.take("name.go_on");
        self.reach("disks.title");
        self.look_closer("disks.title");
        for disk in disks {
            self.mark(disk);
        }
        self.enter();
        self.reach("plan.title");
        self.enter();
        self.reach("confirm.title");
        self.take("confirm.yes_save");
        self.finish();
    }

    /// The result of a task, and the menu again.
    #[track_caller]
    fn finish(&mut self) {
        self.reach("outcome.title");
        self.enter();
        self.reach("task.title");
    }

    #[track_caller]
    fn save_regions(&mut self, disk: &str) {
        self.open_same("save_regions", "name.title");
        self.take("name.go_on");
        self.reach("disks.title");
        self.mark(disk);
        self.enter();
        self.reach("regions.title");
        self.mark(":p1");
        self.enter();
        self.reach("plan.title");
        self.go_to_tasks(BACK);
    }

    /// Both kinds of restore, up to the last question.
    #[track_caller]
    fn restore(&mut self) {
        self.open_same("restore_disks", "images.title");
        self.look_closer("images.title");
        self.enter();
        self.reach("assign.title");
        self.enter();
        self.reach("pick.title");
        self.enter();
        self.reach("assign.title");
        self.take("name.go_on");
        self.reach("plan.title");
        self.enter();
        self.reach("confirm.title");
        self.take("confirm.no");
        self.go_to_tasks(BACK);

        self.open_same("restore_regions", "images.title");
        self.enter();
        self.reach("assign.title");
        self.take("name.go_on");
        self.reach("regions.title");
        self.mark(":p1");
        self.enter();
        self.reach("plan.title");
        self.go_to_tasks(BACK);
    }

    /// What reads images, and disks beside them.
    #[track_caller]
    fn read_images(&mut self) {
        self.open_same("verify", "images.title");
        self.enter();
        self.finish();
        self.open_same("compare", "images.title");
        self.enter();
        self.reach("assign.title_compare");
        self.take("name.go_on");
        self.finish();
        self.open_same("images", "images.title");
        self.enter();
        self.reach("disk.title");
        self.go_to_tasks(BACK);
        self.open_same("checklist", "images.title");
        self.enter();
        self.finish();
    }

    #[track_caller]
    fn look_at_the_machine(&mut self) {
        self.open("signatures", "outcome.title");
        self.finish();
        self.open("network", "network.title");
        self.enter();
        self.reach("network.setup");
        self.press(BACK);
        self.reach("network.title");
        self.press("t");
        self.reach("probe.title");
        self.go_to_tasks(BACK);
    }
}
