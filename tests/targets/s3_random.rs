//! Saves to object storage with faults at random places, the same in every run: nothing is lost.
use tests::network_faults::random_faults;
use tests::s3_scene::Scene;

#[test]
fn random_faults_lose_nothing() {
    random_faults(&Scene::new(), 30);
}

#[test]
#[ignore = "the hundred of `make test-faults-all`"]
fn random_faults_lose_nothing_in_a_hundred_saves() {
    random_faults(&Scene::new(), 100);
}
