# frozen_string_literal: true

module TaskerCore
  module Types
    # How far a step is from being executed.
    class ClientStepReadiness < Record
      attributes :workflow_step_uuid, :task_uuid, :name, :current_state, :dependencies_satisfied, :retry_eligible,
                 :ready_for_execution, :total_parents, :completed_parents, :attempts, :max_attempts, :last_failure_at,
                 :next_retry_at, :last_attempted_at
    end

    # A task, as the server shows it.
    class ClientTaskResponse < Record
      # @!attribute [r] completion_percentage
      #   @return [Numeric] 0 to 100
      # @!attribute [r] steps
      #   @return [Array<ClientStepReadiness>]
      attributes :task_uuid, :name, :namespace, :version, :status, :created_at, :updated_at, :completed_at, :context,
                 :initiator, :source_system, :reason, :priority, :tags, :correlation_id, :parent_correlation_id,
                 :total_steps, :pending_steps, :in_progress_steps, :completed_steps, :failed_steps, :ready_steps,
                 :execution_status, :recommended_action, :completion_percentage, :health_status, steps: -> { [] }

      # @return [ClientTaskResponse]
      def self.from_hash(hash)
        given = hash.transform_keys(&:to_sym)
        given[:steps] = (given[:steps] || []).map { |step| ClientStepReadiness.from_hash(step) }
        super(given)
      end
    end

    # Where in a list a page is.
    class ClientPaginationInfo < Record
      attributes :page, :per_page, :total_count, :total_pages, :has_next, :has_previous
    end

    # A page of tasks.
    class ClientTaskListResponse < Record
      # @!attribute [r] tasks
      #   @return [Array<ClientTaskResponse>]
      # @!attribute [r] pagination
      #   @return [ClientPaginationInfo, nil]
      attributes :pagination, tasks: -> { [] }

      # @return [ClientTaskListResponse]
      def self.from_hash(hash)
        given = hash.transform_keys(&:to_sym)
        given[:tasks] = (given[:tasks] || []).map { |task| ClientTaskResponse.from_hash(task) }
        given[:pagination] &&= ClientPaginationInfo.from_hash(given[:pagination])
        super(given)
      end
    end

    # A step, as the server shows it.
    class ClientStepResponse < Record
      attributes :step_uuid, :task_uuid, :name, :created_at, :updated_at, :completed_at, :results, :current_state,
                 :dependencies_satisfied, :retry_eligible, :ready_for_execution, :total_parents, :completed_parents,
                 :attempts, :max_attempts, :last_failure_at, :next_retry_at, :last_attempted_at
    end

    # One recorded attempt of a step.
    class ClientStepAuditResponse < Record
      attributes :audit_uuid, :workflow_step_uuid, :transition_uuid, :task_uuid, :recorded_at, :worker_uuid,
                 :correlation_id, :success, :execution_time_ms, :result, :step_name, :from_state, :to_state
    end

    # How the server is.
    class ClientHealthResponse < Record
      attributes :status, :timestamp

      # @return [Boolean]
      def healthy?
        %w[ok healthy].include?(status)
      end
    end
  end
end
