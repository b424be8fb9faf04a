"""Which ending earned the payment, also of those who withdrew after it."""

from __future__ import annotations

from django.db import migrations, models


def fill(apps, _editor):
    participants = apps.get_model('studyapp', 'Participant').objects
    participants.filter(completed_at__isnull=False).update(paid_ending='complete')
    participants.filter(stage='technical').update(paid_ending='technical')
    events = apps.get_model('studyapp', 'AuditEvent').objects
    for event in events.filter(action='withdraw', detail__stage='technical'):
        participants.filter(public_id=event.subject).update(paid_ending='technical')


class Migration(migrations.Migration):

    dependencies = [
        ('studyapp', '0002_frozen_rows'),
    ]

    operations = [
        migrations.AddField(
            model_name='participant',
            name='paid_ending',
            field=models.CharField(blank=True, choices=[('consent', 'consent'), ('instructions', 'instructions'), ('label', 'labelling'), ('ask', 'asking'), ('judge', 'judging'), ('exit', 'exit questions'), ('complete', 'complete'), ('declined', 'declined'), ('failed_checks', 'failed the checks'), ('withdrawn', 'withdrawn'), ('technical', 'technical failure')], default='', max_length=20, verbose_name='paid ending'),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
