"""``flowseg doctor``: look at the machine and the installation, and say what helps."""

import json

import click


@click.command("doctor")
@click.option("--warm", is_flag=True, help="Compile all kernels now and keep them on disk.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(warm: bool, as_json: bool) -> None:
    """Say what this machine can do, what is missing, and which command installs it.

    \b
    Examples:
      flowseg doctor
      flowseg doctor --warm     after installing: compiles the kernels, half a minute once
    """
    from flowseg import doctor

    findings = doctor.examine()
    if warm:
        findings.append(doctor.warm_kernels())
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in findings], indent=2))
        return
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        click.echo(f"{'ok  ' if finding.ok else 'note'}  {finding.what:<{width}}  {finding.found}")
        if finding.advice:
            click.echo(f"      {'':<{width}}  {finding.advice}")
