//! In-memory implementations for tests, here and downstream.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::error::{Error, ErrorKind, Result};
use crate::observation::Observation;
use crate::probe::{Context, Probe, ProbeKind};
use crate::text;

/// What a [`ScriptedProbe`] does when it is asked.
#[derive(Debug)]
enum Scene {
    Answer(Box<Result<Observation>>),
    After(Duration, Box<Observation>),
    Hang,
    Panic,
}

/// A probe that plays a script, one scene a call, and then repeats its last observation.
#[derive(Debug)]
pub struct ScriptedProbe {
    target: String,
    scenes: Mutex<Script>,
}

#[derive(Debug, Default)]
struct Script {
    coming: VecDeque<Scene>,
    last: Option<Observation>,
    asked: u64,
}

/// The kind of every [`ScriptedProbe`].
pub static SCRIPTED: ProbeKind = ProbeKind {
    name: "scripted",
    summary: "plays a script",
    metrics: &[],
    is_open: true,
    rules: &[],
};

impl ScriptedProbe {
    /// A probe without a script; it answers nothing until told to.
    pub fn new(target: &str) -> Self {
        Self {
            target: target.to_owned(),
            scenes: Mutex::default(),
        }
    }

    /// Next it answers with `observation`.
    #[must_use]
    pub fn then(self, observation: Observation) -> Self {
        self.add(Scene::Answer(Box::new(Ok(observation))))
    }

    /// Next it answers with `observation` after `delay`.
    #[must_use]
    pub fn then_after(self, delay: Duration, observation: Observation) -> Self {
        self.add(Scene::After(delay, Box::new(observation)))
    }

    /// Next it cannot ask.
    #[must_use]
    pub fn then_error(self, error: Error) -> Self {
        self.add(Scene::Answer(Box::new(Err(error))))
    }

    /// Next it hangs until it is dropped.
    #[must_use]
    pub fn then_hang(self) -> Self {
        self.add(Scene::Hang)
    }

    /// Next it panics, as no probe should.
    #[must_use]
    pub fn then_panic(self) -> Self {
        self.add(Scene::Panic)
    }

    /// How many times it was asked.
    pub fn asked(&self) -> u64 {
        self.script().asked
    }

    fn add(self, scene: Scene) -> Self {
        self.script().coming.push_back(scene);
        self
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.scenes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Scene {
        let mut script = self.script();
        script.asked += 1;
        let scene = script.coming.pop_front();
        match (scene, &script.last) {
            (Some(Scene::Answer(answer)), _) => {
                if let Ok(observation) = &*answer {
                    script.last = Some(observation.clone());
                }
                Scene::Answer(answer)
            }
            (Some(scene), _) => scene,
            (None, Some(last)) => Scene::Answer(Box::new(Ok(last.clone()))),
            (None, None) => Scene::Answer(Box::new(Err(Error::new(
                ErrorKind::Unreachable,
                text!("the script is at its end"),
            )))),
        }
    }
}

#[async_trait]
impl Probe for ScriptedProbe {
    fn kind(&self) -> &'static ProbeKind {
        &SCRIPTED
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn observe(&self, _context: &Context<'_>) -> Result<Observation> {
        match self.next() {
            Scene::Answer(answer) => *answer,
            Scene::After(delay, observation) => {
                tokio::time::sleep(delay).await;
                Ok(*observation)
            }
            Scene::Hang => std::future::pending().await,
            Scene::Panic => panic!("the script says so"),
        }
    }
}
