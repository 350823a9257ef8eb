//! What this machine says about disks that others may use too, for the guard of sessions.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::language::t;
use block::Disk;
use cluster::sharing::{Assessment, Class, Evidence, Finding, Holder, Lock, Purpose, ReservationKind, Witnesses};
use device::{Attached, EFI_VARIABLES, EfiVariables, Registered, Reservations, SourceDisk};
use layout::Layout;
use serde_json::{Value, json};
use session::{ClosedGate, Guard, Surroundings};

use crate::failure::Failure;
use crate::machine;
use crate::operator::Operator;
use crate::target::Target;

/// The machine that the program runs on.
struct ThisMachine {
    attached: Vec<Attached>,
    /// Found out when they are asked first: that reads all disks.
    witnesses: OnceLock<Witnesses>,
}

/// The guard of a session on this machine, with the identifiers that were given for it.
pub fn guard(attached: &[Attached], confirmed: &[String]) -> Guard {
    Guard::new(Arc::new(ThisMachine::with(attached)), confirmed.to_vec())
}

/// What the machine says of a disk, without a look at its bytes.
pub fn of_machine(disk: &Attached, attached: &[Attached]) -> Assessment {
    ThisMachine::with(attached).assess(&disk.path.display().to_string())
}

impl ThisMachine {
    fn with(attached: &[Attached]) -> Self {
        Self { attached: attached.to_vec(), witnesses: OnceLock::new() }
    }

    fn witnesses(&self) -> &Witnesses {
        self.witnesses.get_or_init(|| {
            // A disk that does not let itself be read says nothing.
            let open = |disk: &Attached| Some((disk.path.display().to_string(), SourceDisk::look(&disk.path).ok()?));
            let disks: Vec<_> = self.attached.iter().filter_map(open).collect();
            let by_name = disks.iter().map(|(name, disk)| {
                let disk: &dyn Disk = disk;
                (name.clone(), disk)
            });
            let disks: Vec<_> = by_name.collect();
            let variables = EfiVariables::open(Path::new(EFI_VARIABLES));
            Witnesses {
                systems: session::systems_on(&disks),
                boot_entries: variables.and_then(|variables| machine::boot_entries(&variables).ok()),
                bios_signature: device::bios_boot_signature(),
            }
        })
    }

    fn disk(&self, path: &Path) -> Attached {
        let known = self.attached.iter().find(|disk| device::is_path_of(disk, path));
        known.cloned().unwrap_or_else(|| device::identify(path))
    }

    /// The disks that a loop device shows under another name: others reach them, whatever it is called here.
    fn behind(&self, path: &Path) -> Vec<Attached> {
        device::disks_behind(path).iter().map(|disk| self.disk(disk)).collect()
    }
}

/// What the ways to a disk say.
fn add_ways(disk: &Attached, assessment: &mut Assessment) {
    if let Some((transport, detail)) = device::reach(disk) {
        assessment.add(None, Evidence::Transport { transport, detail });
    }
    let paths: Vec<&PathBuf> = std::iter::once(&disk.path).chain(&disk.other_paths).collect();
    if paths.len() > 1 {
        let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
        assessment.add(None, Evidence::SeveralPaths { detail: names.join(" ") });
    }
    for evidence in paths.into_iter().flat_map(|path| evidence_of_path(path)) {
        assessment.add(None, evidence);
    }
}

impl Surroundings for ThisMachine {
    fn assess(&self, disk: &str) -> Assessment {
        let path = Path::new(disk);
        let attached = self.disk(path);
        let mut assessment = Assessment::new(disk, ids(&attached, path));
        add_ways(&attached, &mut assessment);
        for behind in self.behind(path) {
            add_ways(&behind, &mut assessment);
        }
        assessment
    }

    fn told(&self, disk: &str, layout: &Layout) -> Vec<(Option<String>, Evidence)> {
        let path = Path::new(disk);
        let disks = std::iter::once(self.disk(path)).chain(self.behind(path));
        let paths = disks.flat_map(|disk| std::iter::once(disk.path).chain(disk.other_paths));
        let paths: Vec<_> = paths.map(|path| path.display().to_string()).collect();
        self.witnesses().about(&paths, layout)
    }

    fn is_reachable(&self, disk: &str) -> bool {
        // Controllers and hypervisors that say nothing else may show a disk to several machines.
        let local = ["sata", "nvme", "usb", "file", "loop"];
        let is_local = |disk: &Attached| disk.transport.as_deref().is_some_and(|transport| local.contains(&transport));
        let path = Path::new(disk);
        !std::iter::once(self.disk(path)).chain(self.behind(path)).all(|disk| is_local(&disk))
    }
}

/// What a disk can be confirmed by: its WWN or serial number; a file by its name; what has neither by its path.
fn ids(attached: &Attached, path: &Path) -> Vec<String> {
    let mut ids: Vec<String> = [&attached.wwn, &attached.serial].into_iter().flatten().cloned().collect();
    if ids.is_empty() {
        ids.push(path.display().to_string());
    }
    if attached.transport.as_deref() == Some("file") {
        ids.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
    }
    // A file in the present directory is its own name.
    ids.dedup();
    ids
}

fn evidence_of_path(path: &Path) -> Vec<Evidence> {
    let device = path.display().to_string();
    let mut found = Vec::new();
    if let Some(inquiry) = device::inquiry(path)
        && (inquiry.target_port_groups > 0 || inquiry.has_ports)
    {
        let (groups, ports) = (inquiry.target_port_groups, u8::from(inquiry.has_ports));
        found.push(Evidence::SeveralPaths { detail: format!("{device}: TPGS {groups}, MULTIP {ports}") });
    }
    found.extend(match device::registered(path) {
        Ok(Registered::Unsupported) => None,
        Ok(Registered::Conflict(operation)) => {
            Some(Evidence::ReservationConflict { device, operation: operation.to_owned() })
        }
        Ok(Registered::Known(known)) if known.keys.is_empty() && known.holder.is_none() => None,
        Ok(Registered::Known(known)) => Some(registrations(device, known)),
        // Whether others have registered, nobody knows.
        Err(error) => Some(Evidence::Unknown { detail: format!("{device}: {error}") }),
    });
    found
}

fn registrations(device: String, known: Reservations) -> Evidence {
    let key = |key: u64| format!("{key:016x}");
    let holder = known.holder.map(|held| Holder { key: key(held.key), kind: ReservationKind::of_code(held.kind) });
    let mut initiators: Vec<String> = known.initiators.into_iter().map(|one| one.name).collect();
    initiators.dedup();
    let keys = known.keys.into_iter().map(key).collect();
    Evidence::Registrations { device, generation: known.generation, keys, holder, initiators }
}

/// Refuses disks that nobody may overwrite, before any is opened for writing.
pub fn refuse_hopeless(guard: &Guard, paths: &[PathBuf]) -> Result<(), Failure> {
    for path in paths {
        let disk = SourceDisk::look(path)?;
        let assessment = guard.assessment(&path.display().to_string(), &disk)?;
        // As if everything had been said that can be said.
        let mut all = guard.clone();
        all.confirmed.clone_from(&assessment.ids);
        if let Some(gate) = all.gate(&assessment, Purpose::Restore, Some(session::Scope::AllNodes)) {
            return Err(refusal(&gate));
        }
    }
    Ok(())
}

/// Refuses to keep images on a disk that others may use: what lies there is theirs too.
pub fn refuse_shared_repository(guard: &Guard, target: &Target) -> Result<(), Failure> {
    let under = target.directory.iter().flat_map(|directory| device::disks_under(directory));
    for path in under {
        // What can't be read as a disk is none.
        if SourceDisk::look(&path).is_ok() {
            refuse_repository_on(guard, &path)?;
        }
    }
    Ok(())
}

/// Refuses to keep or to look for images on one disk that others may use.
pub fn refuse_repository_on(guard: &Guard, path: &Path) -> Result<(), Failure> {
    let disk = SourceDisk::look(path)?;
    let assessment = guard.assessment(&path.display().to_string(), &disk)?;
    guard.gate(&assessment, Purpose::Repository, None).map_or(Ok(()), |gate| Err(refusal(&gate)))
}

/// Asks the operator for each closed gate that a word opens, and adds what was opened to the guard.
pub fn ask(gates: &[ClosedGate], purpose: Purpose, guard: &mut Guard, operator: &dyn Operator) {
    for gate in gates.iter().filter(|gate| matches!(gate.lock, Lock::Confirm(_))) {
        if operator.open_gate(gate, purpose) {
            guard.confirmed.push(gate.id.clone());
        }
    }
}

/// Why a disk is refused, and what to do.
pub fn refusal(gate: &ClosedGate) -> Failure {
    let (disk, id) = (&gate.disk, &gate.id);
    let evidence: Vec<String> = gate.findings.iter().map(finding_text).collect();
    let (evidence, class) = (evidence.join("; "), class_text(gate.class));
    let message = t!("failure.shared", disk = disk, class = class, evidence = evidence);
    let (code, next) = match gate.lock {
        Lock::Contended => ("shared-contended", t!("next.shared_contended")),
        Lock::Registered => ("shared-registered", t!("next.shared_registered")),
        Lock::Scope => ("shared-scope", t!("next.shared_scope")),
        Lock::Confirm(_) => ("shared-disk", t!("next.shared_confirm", id = id)),
        Lock::Images(_) => ("shared-images", t!("next.other_disk")),
    };
    let failure = Failure { next: next.into_owned(), ..Failure::refused(code, &message) };
    if matches!(gate.lock, Lock::Confirm(_)) { failure.unless_confirmed(id) } else { failure }
}

/// A class in words, with its code.
pub fn class_text(class: Class) -> String {
    let key = format!("class.{}", class.code());
    format!("{} ({})", t!(&key), class.code())
}

/// One finding in words, with its proof.
pub fn finding_text(finding: &Finding) -> String {
    let key = format!("evidence.{}", finding.evidence.code());
    let text = format!("{} [E{}: {}]", t!(&key), finding.evidence.number(), finding.evidence.proof());
    finding.region.as_ref().map_or_else(|| text.clone(), |region| format!("{region}: {text}"))
}

/// Lines about the sharing of a disk; none where nothing was seen.
pub fn lines(assessment: &Assessment) -> Vec<String> {
    if assessment.findings.is_empty() {
        return Vec::new();
    }
    let heading = t!("sharing.heading", class = class_text(assessment.class()), id = assessment.id()).into_owned();
    std::iter::once(heading).chain(assessment.findings.iter().map(|one| format!("! {}", finding_text(one)))).collect()
}

/// The same for programs.
pub fn document(assessment: &Assessment) -> Value {
    let findings = assessment.findings.iter().map(|finding| {
        let mut document = json!(finding);
        document["evidence"] = format!("E{}", finding.evidence.number()).into();
        document["proof"] = finding.evidence.proof().into();
        document
    });
    json!({
        "class": assessment.class().code(), "ids": assessment.ids, "findings": findings.collect::<Vec<_>>(),
    })
}
