# frozen_string_literal: true

RSpec.describe 'what the gem offers' do
  constants = %w[
    VERSION
    StepHandler::Base StepHandler::Api StepHandler::Decision StepHandler::Batchable StepHandler::Functional
    StepHandler::Mixins::API StepHandler::Mixins::Decision StepHandler::Mixins::Batchable
    Handlers::Steps::Base Handlers::Steps::Mixins Handlers::Steps::API Handlers::Steps::Decision Handlers::Steps::Batchable
    Types::StepContext Types::StepHandlerCallResult Types::DecisionPointOutcome Types::BatchProcessingOutcome
    Types::HandlerDefinition Types::ErrorTypes Types::TaskRequest Types::TaskResponse Types::StepCompletion
    Types::TaskTemplate Types::StepDefinition Types::RetryConfiguration Types::ClientTaskResponse
    Types::ClientTaskListResponse Types::ClientStepResponse Types::ClientStepAuditResponse Types::ClientHealthResponse
    Types::ClientPaginationInfo Types::ClientStepReadiness
    Models::TaskSequenceStepWrapper Models::TaskWrapper Models::WorkflowStepWrapper Models::DependencyResultsWrapper
    Models::StepDefinitionWrapper Models::HandlerWrapper
    BatchProcessing::BatchWorkerContext BatchProcessing::BatchAggregationScenario
    Errors::Error Errors::ConfigurationError Errors::ProceduralError Errors::OrchestrationError Errors::DatabaseError
    Errors::RetryableError Errors::PermanentError Errors::TimeoutError Errors::NetworkError Errors::ValidationError
    Errors::NotFoundError Errors::FFIError Errors::ServerError Errors::ErrorClassifier
    PermanentError RetryableError ValidationError NotFoundError TimeoutError NetworkError ConfigurationError ServerError
    Registry::HandlerRegistry Registry::ResolverChain Registry::ResolverNotFoundError Registry::ResolutionError
    Registry::Resolvers::BaseResolver Registry::Resolvers::ExplicitMappingResolver
    Registry::Resolvers::ClassConstantResolver Registry::Resolvers::RegistryResolver
    Registry::Resolvers::MethodDispatchWrapper
    DomainEvents::BasePublisher DomainEvents::DefaultPublisher DomainEvents::PublisherRegistry
    DomainEvents::BaseSubscriber DomainEvents::SubscriberRegistry DomainEvents::ValidationError
    DomainEvents::PublisherNotFoundError DomainEvents::RegistryFrozenError DomainEvents::DuplicatePublisherError
    Worker::Bootstrap Worker::EventBridge
    Worker::InProcessDomainEventPoller
    Client Logger Tracing Observability TemplateDiscovery TestEnvironment TestHelpers
    TestHelpers::MockEventPublisher TestHelpers::EventCapture TestHelpers::EventFactory Execution
  ]

  constants.each do |name|
    it "has TaskerCore::#{name}" do
      expect(TaskerCore.const_get(name)).not_to be_nil
    end
  end

  instance_methods = {
    'StepHandler::Base' => %i[config logger orchestration_system call success failure handler_name metadata capabilities
                              config_schema validate_config],
    'Types::StepContext' => %i[task workflow_step dependency_results step_definition handler_name task_uuid step_uuid
                               step_name namespace_name retryable? correlation_id input_data context step_inputs
                               step_config get_input get_task_field get_input_or get_config get_dependency_result
                               get_dependency_field get_dependency_result_keys get_all_dependency_results retry_count
                               max_retries is_retry? is_last_retry? checkpoint checkpoint_cursor
                               checkpoint_items_processed accumulated_results has_checkpoint? cancelled?],
    'StepHandler::Api' => %i[get delete post put patch process_response connection configure_connection api_success
                             api_failure connection_error timeout_error api_upload_file api_paginated_request],
    'StepHandler::Decision' => %i[decision_success decision_no_branches skip_branches decision_with_custom_outcome
                                  validate_decision_outcome! decision_failure],
    'StepHandler::Batchable' => %i[get_batch_context handle_no_op_worker create_cursor_configs create_batches_outcome
                                   no_batches_outcome batch_worker_success checkpoint_yield detect_aggregation_scenario
                                   no_batches_aggregation_result aggregate_batch_worker_results get_dependency_result],
    'StepHandler::Functional' => %i[step_handler decision_handler batch_analyzer batch_worker api_handler],
    'BatchProcessing::BatchWorkerContext' => %i[cursor batch_metadata is_no_op checkpoint batch_id start_cursor
                                                end_cursor no_op? checkpoint_cursor accumulated_results has_checkpoint?
                                                checkpoint_items_processed batch_size],
    'BatchProcessing::BatchAggregationScenario' => %i[type batchable_result batch_results worker_count no_batches?
                                                      with_batches? is_no_batches],
    'Models::DependencyResultsWrapper' => %i[get_result get_results [] keys key? each_key],
    'Models::TaskWrapper' => %i[task_uuid context namespace_name task_name task_version correlation_id],
    'Models::HandlerWrapper' => %i[callable initialization handler_method resolver],
    'Types::HandlerDefinition' => %i[callable initialization handler_method resolver effective_method
                                     uses_method_dispatch? has_resolver_hint?],
    'Registry::HandlerRegistry' => %i[resolve_handler register_handler handler_available? registered_handlers register
                                      is_registered list_handlers resolve add_resolver resolver_chain handlers
                                      template_discovery_info],
    'Registry::ResolverChain' => %i[add_resolver with_resolver remove_resolver get_resolver explicit_resolver resolve
                                    can_resolve? register registered_callables chain_info size resolver_names
                                    wrap_for_method_dispatch],
    'Registry::Resolvers::ExplicitMappingResolver' => %i[register unregister registered? clear! size],
    'Registry::MethodDispatchWrapper' => %i[unwrap handler_class wraps? call],
    'DomainEvents::BasePublisher' => %i[name transform_payload should_publish? additional_metadata before_publish
                                        after_publish on_publish_error publish],
    'DomainEvents::PublisherRegistry' => %i[register get get_or_default get_strict registered? registered_names count
                                            empty? unregister clear validate_required! frozen? freeze! reset!],
    'DomainEvents::BaseSubscriber' => %i[handle before_handle after_handle on_handle_error start! stop! active?],
    'DomainEvents::SubscriberRegistry' => %i[register register_instance start_all! stop_all! started? count stats reset!],
    'Worker::InProcessDomainEventPoller' => %i[subscribe unsubscribe clear_subscriptions! subscriber_count start! stop!
                                               active? stats],
    'TestHelpers::MockEventPublisher' => %i[published_events events_by_name events_matching simulate_failure!
                                            clear_failure! clear!],
    'TestHelpers::EventCapture' => %i[subscribe_to events events_by_name wait_for_events clear!]
  }

  instance_methods.each do |owner, names|
    it "has the methods of TaskerCore::#{owner}" do
      expect(names - TaskerCore.const_get(owner).public_instance_methods).to be_empty
    end
  end

  module_methods = {
    'Handlers::Steps' => %i[create validate],
    'Types::StepHandlerCallResult' => %i[success error failure checkpoint_yield from_handler_output from_exception],
    'Types::ErrorTypes' => %i[valid? typically_retryable? typically_permanent?],
    'Types::TaskRequest' => %i[new from_hash build_test],
    'Errors::ErrorClassifier' => %i[retryable?],
    'Registry::HandlerRegistry' => %i[instance],
    'Registry::RegistryResolver' => %i[handles_pattern handles_prefix register_handler priority_value resolver_name],
    'Registry::ResolverChain' => %i[default],
    'DomainEvents::BaseSubscriber' => %i[subscribes_to patterns],
    'Execution' => %i[run timed_out cut_short],
    'Client' => %i[create_task get_task list_tasks cancel_task list_task_steps get_step get_step_audit_history
                   health_check],
    'TestHelpers' => %i[make_context run_handler],
    'TestHelpers::EventFactory' => %i[step_result event_declaration step_context domain_event]
  }

  module_methods.each do |owner, names|
    it "has the functions of TaskerCore::#{owner}" do
      expect(names.reject { |name| TaskerCore.const_get(owner).respond_to?(name) }).to be_empty
    end
  end

  it 'says its version' do
    expect(TaskerCore.version_info).to eq(version: TaskerCore::VERSION)
    expect(TaskerCore::VERSION).to match(/\A\d+\.\d+\.\d+\z/)
  end

  it 'has the same handler classes under both names' do
    expect(TaskerCore::Handlers::Steps::API).to equal(TaskerCore::StepHandler::Api)
    expect(TaskerCore::Handlers::Steps::Base).to equal(TaskerCore::StepHandler::Base)
  end
end
