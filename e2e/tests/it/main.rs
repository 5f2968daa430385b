//! End to end: the real binary, real Docker, real git. See `e2e/src/lib.rs` for how, and
//! `stage.rs` for which Weirs run.
//!
//! `cargo test -p e2e -- rollback` runs those with `rollback` in the name; `WEIR_SOAK=1` makes
//! the tests under load push 20 times instead of three.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that says what it measured"
)]

mod apps;
mod canary;
mod commands;
mod configuration;
mod console;
mod environments;
mod failures;
mod input;
mod isolation;
mod logs;
mod money;
mod reality;
mod scaling;
mod stage;
mod tcp;
mod traffic;
mod upgrades;

use libtest_mimic::{Arguments, Trial};

macro_rules! tests {
    ($($module:ident: $($name:ident)*;)*) => {
        vec![$($(Trial::test(concat!(stringify!($module), "::", stringify!($name)), || stage::play($module::$name)),)*)*]
    };
}

/// Every test, by its module.
#[expect(clippy::too_many_lines, reason = "a list")]
fn trials() -> Vec<Trial> {
    tests! {
        apps:
            python_app_with_pip_dependencies_is_live_after_one_push
            node_app_with_npm_dependencies_is_live_after_one_push
            static_site_is_live_after_one_push
            dockerfile_is_built_as_it_is
            procfile_runs_web_worker_and_release
            monorepo_deploys_every_app_under_its_own_host
            app_with_a_volume_keeps_its_data_over_releases_rollback_and_restart
            folder_without_git_is_deployed_by_the_cli
            names_of_the_same_environment_resolve_to_each_other;
        failures:
            failing_build_rejects_the_push_and_leaves_the_old_release_serving
            failing_release_command_rejects_the_push_and_leaves_the_old_release_serving
            failing_check_rejects_the_push_and_shows_the_log
            app_that_does_not_listen_on_its_port_is_told_so
            two_pushes_at_once_take_turns_and_are_both_told
            newer_push_supersedes_one_that_is_still_starting;
        configuration:
            setting_variables_makes_one_release_and_rolls_it_out
            no_deploy_waits_for_the_next_release
            build_variables_reach_the_build_and_only_those
            secret_is_never_shown_again;
        environments:
            branch_without_an_environment_is_accepted_with_a_hint
            staging_has_its_own_url_and_variables_and_is_promoted_without_a_build;
        commands:
            rollback_to_the_release_before_is_a_thaw
            rollback_to_an_older_release_starts_it_again
            scaling_starts_and_stops_instances
            paused_environment_says_so_and_comes_back
            one_off_command_gives_its_output_and_exit_status
            exec_runs_in_the_live_instance
            every_command_speaks_json
            unknown_things_are_errors_with_a_hint
            tokens_reach_as_far_as_their_scope
            own_domain_leads_to_the_app
            same_idempotency_key_creates_once;
        console:
            people_sign_in_and_work_in_a_browser
            an_app_is_deployed_and_cared_for_in_a_browser
            hostile_texts_paths_and_cookies_do_nothing_in_a_browser;
        logs:
            logs_are_found_by_text_process_and_time
            flood_of_lines_is_bounded_and_said;
        isolation:
            limits_and_privileges_are_set_on_every_container
            environments_do_not_reach_each_other
            public_names_resolve_to_the_ingress_inside
            crash_loop_is_shown_and_costs_others_nothing
            instance_that_stops_answering_is_replaced
            instance_over_its_memory_limit_is_replaced_and_told;
        input:
            symlink_out_of_the_repository_is_refused
            odd_file_names_are_no_trouble
            unknown_key_names_the_nearest_known_one
            wrong_procfile_is_refused_with_the_line
            push_with_a_wrong_token_is_refused;
        upgrades:
            upgrades_under_load_fail_no_request
            upgrade_lets_sleepers_sleep_and_cuts_no_private_call
            upgrade_that_cannot_work_changes_nothing_and_says_why;
        traffic:
            pushes_under_load_fail_no_request_of_a_stateless_app
            pushes_under_load_fail_no_request_of_an_app_with_a_volume
            rollback_under_load_fails_no_request
            large_bodies_stream_both_ways;
        tcp:
            a_tcp_service_keeps_its_port_and_loses_no_connection_when_releases_are_switched;
        canary:
            a_canary_gets_its_share_and_fails_no_request_however_it_ends;
        scaling:
            frozen_instance_is_woken_by_a_request
            stopped_instance_is_started_by_a_request
            instances_follow_the_load_and_no_request_fails;
        money:
            an_app_that_calls_itself_never_costs_more_than_its_cap;
        reality:
            control_killed_during_a_build_goes_on_or_fails_cleanly
            control_killed_during_a_switch_loses_nothing
            node_killed_is_back_within_a_second
            container_removed_by_hand_comes_back
            platform_stopped_and_started_adopts_the_apps
            power_cut_in_a_destroy_leaves_nothing
            destroy_leaves_nothing
            two_weirs_run_side_by_side
            full_disk_is_said_and_survived;
    }
}

fn main() -> std::process::ExitCode {
    let mut arguments = Arguments::from_args();
    // Pushes build images: more at once than cores only makes each of them slower.
    arguments.test_threads.get_or_insert(2);
    let tests = trials();
    let conclusion = libtest_mimic::run(&arguments, tests);
    let cleared = if arguments.list { Ok(()) } else { stage::clear() };
    if let Err(error) = cleared {
        eprintln!("error: the stage could not be cleared: {error:#}");
        return std::process::ExitCode::FAILURE;
    }
    conclusion.exit_code()
}
