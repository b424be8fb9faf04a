"""What the API says of a study's winrates; arms as blind as on the dashboard."""

from __future__ import annotations

from rest_framework import serializers


class WinrateSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """One pairing. Rates are fractions 0 to 1; ``low``..``high`` is the clustered interval."""

    arm = serializers.CharField(source="name.arm")
    against = serializers.CharField(source="name.against")
    pairing = serializers.CharField(source="name.label")
    world = serializers.CharField()
    shots = serializers.IntegerField()
    winrate = serializers.FloatField()
    low = serializers.FloatField()
    high = serializers.FloatField()
    users = serializers.IntegerField()
    judgments = serializers.IntegerField()
    wins = serializers.IntegerField()
    losses = serializers.IntegerField()
    ties = serializers.IntegerField()
    wilson_low = serializers.FloatField()
    wilson_high = serializers.FloatField()
