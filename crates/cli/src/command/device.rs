//! `cloudpal device`: who may join a pal's network.

use crate::app::{App, pinned};
use crate::command::roster;
use crate::failure::{Exit, Failure};
use crate::host::unix_ms;
use crate::person::{self, PalRecord, PersonError};
use crate::qr::{self, Paint};
use crate::terminal::Report;
use cloudpal_core::{AgreementKey, AgreementSecret, Secret};
use cloudpal_plan::conf::{ClientConf, Routing};
use cloudpal_plan::{Device, Overlay, Roster};
use serde_json::json;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What the person asked for.
#[derive(Clone, Debug)]
pub struct AddWish {
    /// The device's name.
    pub name: String,
    /// Which pal.
    pub pal: Option<String>,
    /// Where the config goes; none for the configuration folder.
    pub conf: Option<PathBuf>,
    /// How the QR code is shown; none for not at all.
    pub qr: Option<Paint>,
    /// What goes through the pal.
    pub routing: Routing,
}

/// Adds a device. Asked again for the same name it shows the same config, so that an interrupted run is
/// finished by repeating it.
pub fn add(app: App<'_>, wish: &AddWish) -> Result<Report, Failure> {
    let _locked = app.person.lock()?;
    let mut pal = app.person.pal(wish.pal.as_deref())?;
    pinned(&pal)?;
    let roster = roster::current(app, &pal)?;
    let path = wish.conf.clone().unwrap_or_else(|| conf_path(app, &pal, &wish.name));
    let there = roster.devices.iter().find(|device| device.name == wish.name).cloned();
    let text = match &there {
        Some(device) => conf_of(device, &path)?,
        None => {
            let (device, text) = make(&pal, &roster, wish)?;
            store_conf(app, &pal, wish, &path, &text)?;
            let mut next = Roster { version: roster.version + 1, ..roster };
            next.devices.push(device);
            app.progress.step(&format!("Adding {} to the list of devices", wish.name));
            roster::sign(app, &mut pal, next)?;
            text
        }
    };
    roster::deliver(app, &mut pal)?;
    let device = find(&roster::current(app, &pal)?, &wish.name)?;
    let drawing = wish.qr.map(|paint| qr::render(&text, paint)).transpose()?.unwrap_or_default();
    let (name, domain) = (&device.name, &pal.name);
    let how = if there.is_some() { "is on the network already" } else { "may join now" };
    let human = format!(
        "{name} {how}: {name}.{domain}.internal, {} and {}.\n\
         Config: {} (it holds the device's private key: delete it once the device has it)",
        device.v4,
        device.v6,
        path.display()
    );
    let json = json!({
        "name": name, "pal": pal.id, "conf": path, "v4": device.v4, "v6": device.v6,
        "wireguard": device.wireguard, "added": there.is_none(),
    });
    Ok(Report::new(human, json).below(drawing))
}

/// Lists devices as this device knows them, without asking the pal.
pub fn list(app: App<'_>, pal: Option<&str>) -> Result<Report, Failure> {
    let pal = app.person.pal(pal)?;
    let roster = roster::current(app, &pal)?;
    let mut lines: Vec<String> = roster
        .devices
        .iter()
        .map(|device| format!("{:<16} {:<15} {}", device.name, device.v4, device.v6))
        .collect();
    if lines.is_empty() {
        lines.push("No devices yet; `cloudpal device add phone` adds one.".to_owned());
    }
    if !pal.roster_sent {
        lines.push(format!(
            "{} does not have this list yet; it gets it at the next `cloudpal unlock`.",
            pal.name
        ));
    }
    let devices: Vec<_> = roster
        .devices
        .iter()
        .map(|device| {
            json!({
                "name": device.name, "v4": device.v4, "v6": device.v6, "wireguard": device.wireguard,
                "added_unix_ms": device.added_unix_ms,
            })
        })
        .collect();
    let json =
        json!({ "pal": pal.id, "version": roster.version, "sent": pal.roster_sent, "devices": devices });
    Ok(Report::new(lines.join("\n"), json))
}

/// Removes a device.
pub fn remove(app: App<'_>, name: &str, pal: Option<&str>) -> Result<Report, Failure> {
    let _locked = app.person.lock()?;
    let mut pal = app.person.pal(pal)?;
    let mut roster = roster::current(app, &pal)?;
    // A repeated run after a kill finds the device removed but the pal not told.
    let told = pal.roster_sent;
    match find(&roster, name) {
        Ok(device) => {
            roster.devices.retain(|other| other.name != name);
            roster.version += 1;
            pal.removed.retain(|other| other.name != name);
            pal.removed.push(device);
            roster::sign(app, &mut pal, roster)?;
        }
        Err(missing) if told || !pal.removed.iter().any(|device| device.name == name) => return Err(missing),
        Err(_) => {}
    }
    roster::deliver(app, &mut pal)?;
    let text = format!(
        "{name} is cut off. To undo this: `cloudpal device restore {name}`; its config then works again."
    );
    Ok(Report::new(text, json!({ "name": name, "pal": pal.id, "removed": true })))
}

/// Undoes a removal: the device's old key may join again, at its old address where that is free.
pub fn restore(app: App<'_>, name: &str, pal: Option<&str>) -> Result<Report, Failure> {
    let _locked = app.person.lock()?;
    let mut pal = app.person.pal(pal)?;
    let mut roster = roster::current(app, &pal)?;
    if find(&roster, name).is_err() {
        let gone = |device: &&Device| device.name == name;
        let device = pal.removed.iter().find(gone).cloned();
        let device = device.ok_or_else(|| {
            Failure::new(
                Exit::NotFound,
                format!("no device \"{name}\" was removed here; add it with `cloudpal device add {name}`"),
            )
        })?;
        if roster.devices.iter().any(|other| other.v4 == device.v4) {
            let message = format!(
                "the address of \"{name}\" went to another device; add it anew with `cloudpal device add {name}`"
            );
            return Err(Failure::new(Exit::Failed, message));
        }
        pal.removed.retain(|device| device.name != name);
        roster.devices.push(device);
        roster.version += 1;
        roster::sign(app, &mut pal, roster)?;
    }
    roster::deliver(app, &mut pal)?;
    let text = format!("{name} may join again with its old config.");
    Ok(Report::new(text, json!({ "name": name, "pal": pal.id, "restored": true })))
}

/// This device itself, added to the roster at first use: its entry and the pal, which has the roster.
pub fn this(app: App<'_>, pal: Option<&str>) -> Result<(PalRecord, Device, AgreementSecret), Failure> {
    let _locked = app.person.lock()?;
    let mut pal = app.person.pal(pal)?;
    pinned(&pal)?;
    let key = app.person.device_key()?;
    let mut roster = roster::current(app, &pal)?;
    if !roster.devices.iter().any(|device| device.wireguard == key.public()) {
        // A second laptop of the same person is not the first one.
        let name = match find(&roster, "this") {
            Ok(_) => format!("this-{}", &key.public().to_string()[..8]),
            Err(_) => "this".to_owned(),
        };
        let device = entry(&pal, &roster, &name, key.public())?;
        roster.devices.push(device);
        roster.version += 1;
        roster::sign(app, &mut pal, roster)?;
    }
    roster::deliver(app, &mut pal)?;
    let roster = roster::current(app, &pal)?;
    let device = roster.devices.into_iter().find(|device| device.wireguard == key.public());
    let device = device.ok_or_else(|| Failure::new(Exit::Failed, "this device could not be added"))?;
    Ok((pal, device, key))
}

fn find(roster: &Roster, name: &str) -> Result<Device, Failure> {
    let device = roster.devices.iter().find(|device| device.name == name).cloned();
    device.ok_or_else(|| {
        Failure::new(
            Exit::NotFound,
            format!("there is no device \"{name}\"; `cloudpal device list` shows those there are"),
        )
    })
}

fn entry(pal: &PalRecord, roster: &Roster, name: &str, key: AgreementKey) -> Result<Device, Failure> {
    let place = Overlay::of(pal.id).next_free(roster);
    let place = place.ok_or_else(|| {
        Failure::new(
            Exit::Failed,
            "the network is full; remove a device first with `cloudpal device remove NAME`",
        )
    })?;
    Ok(Device { name: name.to_owned(), wireguard: key, v4: place.v4, v6: place.v6, added_unix_ms: unix_ms() })
}

fn make(pal: &PalRecord, roster: &Roster, wish: &AddWish) -> Result<(Device, Zeroizing<String>), Failure> {
    let key = Secret::new(person::random()?);
    let device = entry(pal, roster, &wish.name, AgreementSecret::from_secret(&key).public())?;
    let mut next = roster.clone();
    next.devices.push(device.clone());
    next.check(&Overlay::of(pal.id)).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let endpoint = pal.endpoint.ok_or_else(|| {
        Failure::new(Exit::Failed, "the pal's address is not known yet; run `cloudpal status`")
    })?;
    let conf = ClientConf {
        private_key: key,
        device: device.addresses(),
        hub: Overlay::of(pal.id).hub(),
        pal: pinned(pal)?.wireguard,
        endpoint,
        routing: wish.routing,
    };
    Ok((device, conf.render()))
}

// Before the roster: a key that is in the roster but in no file would be lost.
fn store_conf(app: App<'_>, pal: &PalRecord, wish: &AddWish, path: &Path, text: &str) -> Result<(), Failure> {
    match &wish.conf {
        None => person::make_private_dir(&app.person.devices_dir(pal.id)).map_err(PersonError::from)?,
        // A file of the person's may be anything; one that an interrupted run wrote holds a key nobody uses.
        Some(path) if path.exists() && !is_conf_of_nobody(app, pal, path)? => {
            let message =
                format!("{} is there already and was not overwritten; choose another --conf", path.display());
            return Err(Failure::new(Exit::WouldLose, message));
        }
        Some(_) => {}
    }
    Ok(person::write_private(path, text.as_bytes()).map_err(PersonError::from)?)
}

fn is_conf_of_nobody(app: App<'_>, pal: &PalRecord, path: &Path) -> Result<bool, Failure> {
    let Some((key, conf)) = read_conf(path)? else { return Ok(false) };
    let used = roster::current(app, pal)?.devices.iter().any(|device| device.wireguard == key);
    let removed = pal.removed.iter().any(|device| device.wireguard == key);
    Ok(conf.hub == Overlay::of(pal.id).hub() && !used && !removed)
}

fn conf_of(device: &Device, path: &Path) -> Result<Zeroizing<String>, Failure> {
    match read_conf(path)? {
        Some((key, conf)) if key == device.wireguard => Ok(conf.render()),
        _ => Err(Failure::new(
            Exit::WouldLose,
            format!(
                "{} is on the network already and its config is not in {}; to make a new one, `cloudpal device remove {}` first",
                device.name,
                path.display(),
                device.name
            ),
        )),
    }
}

fn read_conf(path: &Path) -> Result<Option<(AgreementKey, ClientConf)>, Failure> {
    let Some(bytes) = person::read(path).map_err(PersonError::from)?.map(Zeroizing::new) else {
        return Ok(None);
    };
    let conf = std::str::from_utf8(&bytes).ok().and_then(|text| ClientConf::parse(text).ok());
    Ok(conf.map(|conf| (AgreementSecret::from_secret(&conf.private_key).public(), conf)))
}

fn conf_path(app: App<'_>, pal: &PalRecord, name: &str) -> PathBuf {
    // The name may be anything until the roster's check: keep it inside the folder.
    app.person.devices_dir(pal.id).join(format!("{}.conf", name.replace(['/', '.'], "_")))
}
