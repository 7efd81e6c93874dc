"""From a crontab to entries: every rule of crontab(5) that a webhook can follow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.chronosctl.crontab import parse_crontab
from cli.chronosctl.crontab_jobs import check_templates, job_of, url_of
from cli.chronosctl.failures import CliError

TEMPLATE = "http://run.example/run?cmd={command}"


def entries(text, **how):
    return parse_crontab(text, **how).entries


def refusals(text, **how):
    return [(remark.line, remark.text) for remark in parse_crontab(text, **how).remarks if remark.refused]


def test_comments_and_blank_lines_are_nothing():
    crontab = parse_crontab("# m h\n\n   # indented\n\t\n")
    assert crontab == ([], [])


def test_a_line_is_five_fields_and_a_command():
    (entry,) = entries("  30\t2 *  * mon-fri\t/usr/bin/backup --all  \n")
    assert (entry.line, entry.schedule, entry.command) == (1, "30 2 * * mon-fri", "/usr/bin/backup --all")
    assert (entry.timezone, entry.stdin, entry.user) == ("UTC", None, None)


def test_a_hash_behind_the_command_belongs_to_the_command():
    assert entries("0 0 * * * x # not a comment")[0].command == "x # not a comment"


@pytest.mark.parametrize("word", ["@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"])
def test_words_are_schedules(word):
    assert entries(f"{word} x y")[0][2:5] == (word, "UTC", "x y")


def test_a_time_zone_holds_from_its_line_on():
    text = "0 0 * * * a\nCRON_TZ=Europe/Berlin\n0 0 * * * b\nTZ = 'Asia/Tokyo'\n0 0 * * * c\nCRON_TZ=\n0 0 * * * d\n"
    assert [e.timezone for e in entries(text, timezone="America/Lima")] == [
        "America/Lima", "Europe/Berlin", "Asia/Tokyo", "America/Lima",
    ]  # fmt: skip


def test_a_zone_nobody_knows_refuses_its_lines_with_the_nearest_names():
    ((line, text),) = refusals("CRON_TZ=Europe/Berln\n0 0 * * * a\n")
    assert line == 2
    assert "Europe/Berlin" in text


def test_settings_are_told_and_refuse_nothing():
    crontab = parse_crontab('MAILTO=""\nPATH=/bin\n"X Y" = 1\n0 0 * * * a\n')
    assert [(r.line, r.text.split(":")[0], r.refused) for r in crontab.remarks] == [
        (1, "MAILTO=nobody", False), (2, "PATH=/bin", False), (3, "X Y=1", False),
    ]  # fmt: skip
    assert len(crontab.entries) == 1


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("@reboot x", "'@reboot' is not supported"),
        ("@evry x", "not a word"),
        ("@every 5m x", "no word of crontab"),
        ("0 0 * *", "has 4 field(s)"),
        ("0 0 * * *", "no command"),
        ("0 0 * * * %only input", "no command"),
        ("61 0 * * * x", "minute"),
        ("0 0 30 2 * x", "never fires"),
        ("@daily", "no command"),
    ],
)
def test_a_line_that_cannot_become_a_job_is_refused_by_its_number(line, told):
    ((number, text),) = refusals(f"# one\n{line}\n0 0 * * * fine\n")
    assert number == 2
    assert told in text


def test_percent_ends_the_command_and_the_rest_is_its_input():
    (entry,) = entries(r"0 0 * * * mail -s 100\% me%Dear me,%it is 5\%.%")
    assert entry.command == "mail -s 100% me"
    assert entry.stdin == "Dear me,\nit is 5%.\n\n"
    assert job_of(entry, TEMPLATE, {})["webhook"]["body"] == entry.stdin


def test_a_system_crontab_has_a_user_before_the_command():
    text = "17 * * * *\troot\tcd / && x\n@daily www-data y z\n"
    assert [(e.user, e.command) for e in entries(text, system=True)] == [("root", "cd / && x"), ("www-data", "y z")]
    assert job_of(entries(text, system=True)[0], TEMPLATE, {"a": "b"})["tags"] == {"a": "b", "user": "root"}


def test_a_path_where_a_user_should_be_is_refused():
    ((_, text),) = refusals("0 0 * * * /usr/bin/x y", system=True)
    assert "is not a user name" in text


def test_a_name_stays_when_other_lines_or_the_schedule_change():
    before = entries("0 0 * * * /opt/a.sh --x\n5 0 * * * /opt/b.sh\n")
    after = entries("# new\n1 1 * * * /opt/c.sh\n30 3 * * * /opt/b.sh\n0 0 * * * /opt/a.sh --x\n")
    assert {e.name for e in before} <= {e.name for e in after}
    assert before[0].name.startswith("a.sh-x-")


def test_lines_that_run_the_same_have_names_of_their_own():
    names = [e.name for e in entries("0 0 * * * x\n0 12 * * * x\n0 12 * * * x\n")]
    assert names == [names[0], f"{names[0]}-2", f"{names[0]}-3"]


def test_what_is_put_into_the_url_is_percent_encoded():
    (entry,) = entries("0 0 * * * a b&c={name}/é")
    assert url_of(entry, "http://x/{name}?c={command}") == f"http://x/{entry.name}?c=a%20b%26c%3D%7Bname%7D%2F%C3%A9"


@pytest.mark.parametrize("template", ["http://x/", "http://x/{cmd}", "http://x/{name}/{0}", ""])
def test_a_template_that_cannot_tell_jobs_apart_is_refused(template):
    with pytest.raises(CliError, match="--url-template"):
        check_templates(template)


@pytest.mark.parametrize(
    ("template", "body"),
    [
        ('{"run": "{command}", "in": ["{stdin}", 1]}', {"run": 'say "hi"', "in": ["a\n", 1]}),
        ("{name}: {command}\n{}", 'say-hi-{hash}: say "hi"\n{}'),
    ],
)
def test_a_body_template_is_filled_and_json_stays_json(template, body):
    (entry,) = entries('0 0 * * * say "hi"%a')
    check_templates("http://x/", template)
    expected = body.replace("{hash}", entry.name[-8:]) if isinstance(body, str) else body
    assert job_of(entry, "http://x/", {}, template)["webhook"]["body"] == expected


def test_a_body_template_with_a_placeholder_nobody_fills_is_refused():
    with pytest.raises(CliError, match="--body-template"):
        check_templates(TEMPLATE, "{user}")


@given(st.text(max_size=200), st.booleans())
def test_no_text_is_a_crash_and_every_entry_is_of_its_own_name(text, system):
    crontab = parse_crontab(text, system=system)
    assert len({entry.name for entry in crontab.entries}) == len(crontab.entries)


def test_the_sample_becomes_jobs_and_one_refusal(api, run, make_job):
    sent = []

    def created(body):
        sent.append(body)
        return make_job(body["name"], len(sent))

    api.on("POST", "/jobs", 201, created)
    sample = "examples/crontab.sample"
    ended = run("job", "import-crontab", sample, "--url-template", TEMPLATE, "--tag", "from=crontab")
    assert ended.status == 2
    assert "line 14: '@reboot' is not supported" in ended.err
    assert "line 6: MAILTO=ops@example.com" in ended.err
    assert len(sent) == 9
    assert all(job["tags"] == {"from": "crontab"} for job in sent)


def test_standard_input_that_a_body_template_leaves_out_is_told(api, run):
    ended = run(
        "job", "import-crontab", "examples/crontab.sample", "--url-template", TEMPLATE, "--dry-run",
        "--body-template", "{command}",
    )  # fmt: skip
    assert "line 21: its standard input is left out" in ended.err
    assert api.calls == []


def test_a_dry_run_asks_the_api_nothing(api, run):
    ended = run(
        "job", "import-crontab", "examples/crontab.sample", "--url-template", TEMPLATE, "--dry-run", "-o", "json"
    )
    assert '"schedule": "30 2 * * *"' in ended.out
    assert api.calls == []
