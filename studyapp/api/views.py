"""Read-only API for staff."""

from __future__ import annotations

from django.shortcuts import get_object_or_404
from rest_framework.permissions import IsAdminUser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from studyapp import blinding
from studyapp.analysis import latest_snapshot
from studyapp.api.serializers import WinrateSerializer
from studyapp.models import Study
from studyapp.results import pairing_names, results_of


class Winrates(APIView):
    """The current snapshot of a study's winrates: the one the dashboard shows."""

    permission_classes = (IsAdminUser,)

    def get(self, request: Request, slug: str) -> Response:  # noqa: ARG002 - the framework's signature
        study = get_object_or_404(Study, slug=slug)
        unblinded = blinding.is_unblinded(study)
        snapshot = latest_snapshot(study)
        results = results_of(snapshot, pairing_names(study, unblinded=unblinded))
        return Response(
            {
                "study": study.slug,
                "unblinded": unblinded,
                "created_at": snapshot and snapshot.created_at,
                "input_hash": snapshot and snapshot.input_hash,
                "rows": WinrateSerializer(results, many=True).data,
                "label_prediction": snapshot and snapshot.payload["label_prediction"],
            }
        )
