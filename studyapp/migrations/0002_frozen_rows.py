"""Rows that no code path may change: study versions, their pairs, the audit log."""

from __future__ import annotations

from django.db import migrations

FORWARD = """
CREATE FUNCTION studyapp_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: these rows are frozen', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER studyversion_frozen BEFORE UPDATE ON studyapp_studyversion
    FOR EACH ROW EXECUTE FUNCTION studyapp_refuse_change();
CREATE TRIGGER pairpool_frozen BEFORE UPDATE ON studyapp_pairpool
    FOR EACH ROW EXECUTE FUNCTION studyapp_refuse_change();
CREATE TRIGGER auditevent_append_only BEFORE UPDATE OR DELETE ON studyapp_auditevent
    FOR EACH ROW EXECUTE FUNCTION studyapp_refuse_change();
"""

BACKWARD = """
DROP TRIGGER studyversion_frozen ON studyapp_studyversion;
DROP TRIGGER pairpool_frozen ON studyapp_pairpool;
DROP TRIGGER auditevent_append_only ON studyapp_auditevent;
DROP FUNCTION studyapp_refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("studyapp", "0001_initial")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
