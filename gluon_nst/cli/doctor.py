"""``gluon-nst doctor``: what this machine has, and what it lacks."""

from __future__ import annotations

import json

import click

from gluon_nst.cli.options import json_option


@click.command()
@json_option
def doctor(as_json: bool) -> int:
    """Tell what this machine has, what will be used, what is missing and how to get it.

    Exit code 1 if nothing can be stylized here.
    """
    from gluon_nst.doctor import as_mapping, examine, usable

    findings = examine()
    if as_json:
        click.echo(json.dumps(as_mapping(findings)))
    else:
        width = max(len(finding.topic) for finding in findings)
        for finding in findings:
            click.echo(f"{finding.state:<8} {finding.topic:<{width}}  {finding.text}")
            if finding.remedy:
                click.echo(f"{'':<8} {'':<{width}}  -> {finding.remedy}")
    return 0 if usable(findings) else 1
