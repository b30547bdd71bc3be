"""Assigns a single stage's partitions: one member gets all of them, the others stand by.

Faust spreads partitions over the members of a group. A single stage waits at each watermark for all its
partitions, so two workers with half of them each would both wait forever.
"""

from collections.abc import Mapping, MutableMapping

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from faust.assignor.client_assignment import ClientAssignment
from faust.assignor.partition_assignor import PartitionAssignor


class SoleOwner(PartitionAssignor):
    """Assigns all partitions to the member that has most of them already, else to the first by id."""

    _owner = ""

    def _perform_assignment(
        self, cluster: ClusterMetadata, member_metadata: MutableMapping[str, ConsumerProtocolMemberMetadata]
    ) -> MutableMapping[str, ConsumerProtocolMemberAssignment]:
        held = {
            member: len(self._get_client_metadata(metadata).assignment.active_tps)
            for member, metadata in sorted(member_metadata.items())
        }
        self._owner = max(held, key=lambda member: held[member])
        return super()._perform_assignment(cluster, member_metadata)

    def _global_table_standby_assignments(
        self, assignments: MutableMapping[str, ClientAssignment], partitions_by_topic: Mapping[str, int]
    ) -> MutableMapping[str, ClientAssignment]:
        """Faust's last step of an assignment: here everything goes to the owner."""
        whole = {topic: list(range(count)) for topic, count in sorted(partitions_by_topic.items())}
        return {
            member: ClientAssignment(actives=whole if member == self._owner else {}, standbys={})
            for member in assignments
        }
