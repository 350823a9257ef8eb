//! A hundred saves to an export with faults at random places, the same in every run: nothing is lost.
use tests::network_faults::random_faults;
use tests::nfs_scene::Scene;

#[test]
fn random_faults_lose_nothing_in_a_hundred_saves() {
    random_faults(&Scene::new(), 100);
}
